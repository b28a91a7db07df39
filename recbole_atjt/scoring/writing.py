"""The folder of scores: the table, what was not scored, and how it came about."""

from __future__ import annotations

import json
from pathlib import Path

from recbole_atjt.errors import UsageError
from recbole_atjt.report.result import finite
from recbole_atjt.scoring.scored import Scored
from recbole_atjt.scoring.table import write_scores

SUMMARY, UNSCORED = "scores.json", "unscored.csv"


def make_folder(folder: Path) -> None:
    """Make the folder, before anything is trained.

    Raises:
        UsageError: It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output_dir={folder} can't be written to: {error.strerror}") from error


def write(scored: Scored, folder: Path, form: str) -> Path:
    """Write ``scores.csv`` or ``scores.parquet``, ``unscored.csv`` and ``scores.json``.

    Returns:
        The file of scores.

    Raises:
        UsageError: The folder can't be written to.
    """
    path = folder / f"scores.{form}"
    try:
        write_scores(scored.table, path)
        scored.unscored.to_csv(folder / UNSCORED, index=False, lineterminator="\n")
        text = json.dumps(finite(scored.summary()), indent=2, allow_nan=False)
        (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"output_dir={folder} can't be written to: {error.strerror}") from error
    return path
