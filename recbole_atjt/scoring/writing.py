"""The folder of scores: the table, what was not scored, and how it came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.errors import UsageError, in_one_line
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


def read_summary(folder: Path) -> dict[str, Any]:
    """Read what was written beside scores; empty where nothing was.

    Raises:
        UsageError: The file is none that was written here.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {in_one_line(error)}") from error
    config = found.get("config", {}) if isinstance(found, dict) else None
    name = found.get("file", "") if isinstance(found, dict) else None
    if not isinstance(config, dict) or not isinstance(name, str) or Path(name).name != name:
        raise UsageError(f"{path} is no description of scores: write it again by score")
    return dict(found)


def read_unscored(folder: Path) -> pd.DataFrame:
    """Read ``line`` and ``part`` of what was not scored.

    Raises:
        UsageError: There is no such file, or it holds something else.
    """
    path = folder / UNSCORED
    try:
        found = pd.read_csv(path)
        lines = found["line"].astype(np.int64)
        parts = found["part"].isin(("first", "valid", "test"))
    except OSError as error:
        raise UsageError(f"ready_splits needs {path} beside the scores: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        raise UsageError(f"{path} is no list of lines and parts: {in_one_line(error)}") from error
    if not parts.all():
        raise UsageError(f"{path}: a part is none of first, valid and test")
    return found.assign(line=lines)
