"""Where training interactions stand in the file that they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.data.clean import NOISE_FIELD, Truth
from recbole_atjt.data.file_rows import FILE_ROW
from recbole_atjt.data.files import interaction_files
from recbole_atjt.data.splits import PARTS
from recbole_atjt.data.text_rows import TextRows
from recbole_atjt.data.windows import Windows
from recbole_atjt.errors import UsageError
from recbole_atjt.noise.planting import planted_truth
from recbole_atjt.noise.windows import training_rows


@dataclass(frozen=True)
class Origin:
    """Training interactions as their file writes them.

    Args:
        file: The file.
        table: ``user``, ``item``, ``time``, ``line`` (none for a click that was added by planting)
            and, where it is known, ``is_noise`` of each training interaction, in their order.
        unscored: ``line`` and ``part`` of the file's other clicks that a run reads: ``first`` for
            a user's first click, which has no history, ``valid`` and ``test``.
        order: Order of the training interactions in the file, ``[n]``.
    """

    file: Path
    table: pd.DataFrame
    unscored: pd.DataFrame
    order: np.ndarray


def origin_of(config: Any, parts: list[Any]) -> Origin:
    """Find the interactions of a split dataset in its file.

    Args:
        config: RecBole's configuration.
        parts: Training, validation and test part, with ``FILE_ROW``.

    Raises:
        UsageError: The file's lines are not the rows that RecBole reads.
    """
    train, encoding = parts[0], config["encoding"] or "utf-8"
    user, item, time = train.uid_field, train.iid_field, train.time_field
    ready = config["benchmark_filename"]
    file = interaction_files(config["data_path"], config["dataset"], ready)[0]
    names = [name for name in (user, item, time, NOISE_FIELD) if name]
    text = TextRows.read(file, names, config["field_separator"], encoding)
    row, added = _file_rows(train)
    feat = train.inter_feat
    users, items = (train.id2token(field, feat[field].numpy()) for field in (user, item))
    noise = _noise(config, train, text, row)
    _require_same(file, text, row, {user: users}, np.zeros(len(row), dtype=bool))
    _require_same(file, text, row, {item: items}, added | _planted(config, noise))
    columns: dict[str, Any] = {"user": users, "item": items, "time": ""}
    if time in text.columns:
        columns["time"] = text.columns[time][row]
        if added.any():
            columns["time"][added] = [f"{value:.12g}" for value in feat[time].numpy()[added]]
    line = pd.array(text.line[row], dtype="Int64")
    line[added] = pd.NA
    columns["line"] = line
    if noise is not None:
        columns[NOISE_FIELD] = noise.astype(np.int64)
    unscored = _unscored(parts, text, several=ready is not None)
    return Origin(file, pd.DataFrame(columns), unscored, np.lexsort((added, row)))


def _file_rows(part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each interaction, and whether it was added behind it by planting."""
    feat = part.inter_feat
    if not isinstance(feat, Windows):
        row = feat[FILE_ROW].numpy()
        return row, pd.Series(row).duplicated().to_numpy()
    columns = feat.interaction
    row, target = columns.base.columns[FILE_ROW][:-1].numpy(), columns.target.numpy()
    return row[target], pd.Series(row).duplicated().to_numpy()[target]


def _noise(config: Any, train: Any, text: TextRows, row: np.ndarray) -> np.ndarray | None:
    """Return what is known to be noise, also where the column that says so was not loaded."""
    truth = planted_truth(config) or Truth.of(config, train)
    true = truth.holds(train.inter_feat)
    if true is not None:
        return np.asarray(~true.numpy())
    if NOISE_FIELD not in text.columns:
        return None
    known = pd.to_numeric(pd.Series(text.columns[NOISE_FIELD][row]), errors="coerce").to_numpy()
    return None if np.isnan(known).any() else known != 0


def _planted(config: Any, noise: np.ndarray | None) -> np.ndarray | bool:
    return noise if config["plant"] is not None and noise is not None else False


def _require_same(
    file: Path, text: TextRows, row: np.ndarray, tokens: dict[str, Any], free: np.ndarray
) -> None:
    """Check that lines hold the tokens that RecBole read, but for rows that planting changed."""
    ((name, found),) = tokens.items()
    too_far = row >= len(text.line)
    written = text.columns[name][np.where(too_far, 0, row)]
    wrong = np.flatnonzero(too_far | ((written != found.astype(object)) & ~free))
    if len(wrong):
        first = wrong[0]
        raise UsageError(
            f"{file}: RecBole reads {name} '{found[first]}' where line "
            f"{int(text.line[min(row[first], len(text.line) - 1)])} has '{written[first]}': "
            "scores need a file whose lines are the rows that RecBole reads"
        )


def _unscored(parts: list[Any], text: TextRows, several: bool) -> pd.DataFrame:
    """Return lines of first clicks and, where all parts are in one file, of validation and test.

    The first click of a user who has no training click is of the part that has his next one.
    """
    found = {"first": _first_rows(parts[0])}
    for name, part in zip(PARTS[1:], parts[1:]):
        starts = np.setdiff1d(_first_rows(part), np.concatenate(list(found.values())))
        found[name] = np.concatenate([_file_rows(part)[0], starts])
    if several:
        found = {"first": found["first"][found["first"] < len(text.line)]}
    rows = np.concatenate(list(found.values()))
    names = np.repeat(list(found), [len(each) for each in found.values()])
    order = np.argsort(rows, kind="stable")
    return pd.DataFrame({"line": text.line[rows[order]], "part": names[order]})


def _first_rows(part: Any) -> np.ndarray:
    """Return the file's rows of the first clicks of a part's users, which are no targets."""
    feat = part.inter_feat
    if not isinstance(feat, Windows):
        return np.zeros(0, dtype=np.int64)
    columns = feat.interaction
    base, target = columns.base.columns, columns.target.numpy()
    places = training_rows(base[part.uid_field][:-1].numpy(), target)
    return np.asarray(base[FILE_ROW].numpy()[np.setdiff1d(places, target)])
