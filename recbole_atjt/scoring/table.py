"""The file of scores: a row for each training interaction."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.errors import UsageError

FORMATS = ("csv", "parquet")
#: Columns of a file of scores, in order; ``is_noise`` is there where it is known.
COLUMNS = ("user", "item", "time", "score", "weight", "epochs", "loss", "line", "is_noise")
#: Columns that cleaning needs.
NEEDED = ("user", "item", "score", "line")
_TEXTS = ("user", "item", "time")


def require_format(chosen: str) -> None:
    """Check that scores can be written in a format, before anything is trained.

    Raises:
        UsageError: There is no such format, or what writes it is not installed.
    """
    if chosen not in FORMATS:
        raise UsageError(f"format={chosen} is unknown: use {' or '.join(FORMATS)}")
    if chosen == "parquet":
        _require_pyarrow("format=parquet")


def write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write scores, in the format that the file's name ends with."""
    if path.suffix == ".parquet":
        scores.to_parquet(path, index=False)
    else:
        scores.to_csv(path, index=False, float_format="%.7g", lineterminator="\n")


def read_scores(path: Path) -> pd.DataFrame:
    """Read a file of scores.

    Raises:
        UsageError: It can't be read, lacks a column, or holds what is no score or no line.
    """
    frame = _read(path)
    for name in NEEDED:
        if name not in frame:
            has = ", ".join(map(str, frame.columns))
            raise UsageError(f"scores={path} has no column '{name}'; it has {has}")
    score = _numbers(frame, "score", path)
    wrong = np.flatnonzero(~((score >= 0) & (score <= 1)))
    if len(wrong):
        raise UsageError(
            f"scores={path}: row {wrong[0] + 1} has score {frame['score'].iloc[wrong[0]]}, which "
            "is no number in [0, 1]"
        )
    line = _numbers(frame, "line", path)
    wrong = np.flatnonzero(~(line >= 2) | (line != np.floor(line)))
    if len(wrong):
        raise UsageError(
            f"scores={path}: row {wrong[0] + 1} is of no line of a file: clicks that a run adds "
            "by plant are in no file; plant as a command writes one, score that"
        )
    frame = frame.assign(score=score, line=line.astype(np.int64))
    if frame["line"].duplicated().any():
        twice = frame["line"][frame["line"].duplicated()].iloc[0]
        raise UsageError(f"scores={path}: line {twice} has two scores")
    return frame


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            _require_pyarrow(f"scores={path}")
            return pd.read_parquet(path).astype(dict.fromkeys(("user", "item"), str))
        texts: dict[str, Any] = dict.fromkeys(_TEXTS, str)
        return pd.read_csv(path, dtype=texts, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"scores={path} can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"scores={path} is no table of scores: {reason}") from error


def _numbers(frame: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    found = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(found)


def _require_pyarrow(what: str) -> None:
    if find_spec("pyarrow") is None:
        raise UsageError(f"{what} needs pyarrow: pip install pyarrow, or use csv")
