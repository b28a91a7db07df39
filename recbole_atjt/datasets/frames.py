"""From data frames to RecBole's atomic files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from recbole_atjt.data.new_dataset import new_folder, refuse_folder
from recbole_atjt.errors import UsageError, nearest

USER, ITEM, TIME = "user_id", "item_id", "timestamp"
"""RecBole's names of the columns that every dataset has."""
KINDS = ("token", "token_seq", "float", "float_seq")
#: Whole numbers below it are floats without loss.
_EXACT = 2**53
#: What would end a field, a row or the file.
_BREAKS = {"\t": "a tab", "\n": "a line break", "\r": "a line break", "\0": "a NUL character"}


def from_frame(
    frame: pd.DataFrame,
    name: str,
    *,
    data_path: str | Path = "dataset",
    user: str = USER,
    item: str = ITEM,
    time: str | None = TIME,
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Path:
    """Write clicks as a new dataset, which ``--dataset=NAME --data_path=DIR`` then names.

    Users, items and times get RecBole's names, other columns keep theirs: texts and categories are
    tokens, numbers, Booleans (0 and 1) and times (seconds since 1970) are floats, and lists are
    sequences of either. What is missing stays empty, which only these other columns may be.

    Args:
        frame: One row a click.
        name: Name of the dataset, and of its folder below ``data_path``.
        data_path: Folder of datasets; it is made if need be.
        user: Column of users.
        item: Column of items.
        time: Column of times: numbers, or what ``pandas.to_datetime`` gives; None for clicks
            without times, in the order of which a sequential model cannot learn.
        items: What is known of items, one row an item, with the column ``item``.
        users: What is known of users, one row a user, with the column ``user``.
        kinds: ``token``, ``token_seq``, ``float`` or ``float_seq`` of columns that are not to be
            what their values say, such as ``{"year": "token"}``.

    Returns:
        The new folder.

    Raises:
        UsageError: A column is missing, a value can't be written, the folder exists; names the
            first such value and its row. Nothing is written then.
    """
    if Path(name).name != name:
        raise UsageError(f"name={name} is not a name: give its folder as data_path")
    kinds = dict(kinds or {})
    renamed = {user: USER, item: ITEM, **({time: TIME} if time is not None else {})}
    parts = {"inter": (frame, list(renamed)), "item": (items, [item]), "user": (users, [user])}
    _refuse_kinds(kinds, [part for part, _ in parts.values() if part is not None])
    texts = {
        suffix: _Written(f"{name}.{suffix}", part, required, renamed, kinds)
        for suffix, (part, required) in parts.items()
        if part is not None
    }
    for suffix, column in (("item", item), ("user", user)):
        if suffix in texts:
            texts[suffix].refuse_twice(renamed[column])
            _refuse_gaps(texts["inter"], texts[suffix], renamed[column])
    folder = Path(data_path) / name
    refuse_folder(folder)
    with new_folder(folder) as made:
        for suffix, written in texts.items():
            written.write(made / f"{name}.{suffix}")
    return folder


class _Written:
    """A frame as an atomic file: header and columns of text."""

    def __init__(
        self,
        what: str,
        frame: pd.DataFrame,
        required: list[str],
        renamed: Mapping[str, str],
        kinds: Mapping[str, str],
    ) -> None:
        self.what = what
        self.columns: dict[str, pd.Series] = {}
        header = []
        if not len(frame):
            raise UsageError(f"{what}: there is no row")
        for column in required:
            if column not in frame.columns:
                hint = nearest(str(column), map(str, frame.columns))
                raise UsageError(
                    f"{what}: there is no column '{column}'{hint}; there are "
                    f"{', '.join(map(str, frame.columns))}"
                )
        for column in frame.columns:
            new = renamed.get(column, str(column))
            if new in self.columns or not frame.columns.is_unique:
                raise UsageError(f"{what}: there are two columns '{new}'")
            if ":" in new or any(sign in new for sign in _BREAKS):
                raise UsageError(f"{what}: column {new!r} can't be named so in a header")
            values = frame[column].reset_index(drop=True)
            kind = _kind_of(new, values, kinds.get(column))
            text = _text_of(f"{what}: {column}", values, kind)
            if column in required and text.eq("").any():
                row = int(np.flatnonzero(text.eq(""))[0])
                raise UsageError(f"{what}: {column} is missing in row {row}")
            self.columns[new] = text
            header.append(f"{new}:{kind}")
        self.header = header

    def refuse_twice(self, key: str) -> None:
        """Refuse a token that has two rows."""
        twice = self.columns[key].duplicated()
        if twice.any():
            token = self.columns[key][twice].iloc[0]
            raise UsageError(f"{self.what}: {key} {token} stands there twice: give each one row")

    def write(self, path: Path) -> None:
        """Write the file."""
        frame = pd.DataFrame(self.columns)
        frame.columns = pd.Index(self.header)
        frame.to_csv(
            path, sep="\t", index=False, quoting=csv.QUOTE_NONE, lineterminator="\n", na_rep=""
        )


def _refuse_kinds(kinds: Mapping[str, str], frames: list[pd.DataFrame]) -> None:
    columns = [str(column) for frame in frames for column in frame.columns]
    for column, kind in kinds.items():
        if column not in columns:
            raise UsageError(f"kinds: there is no column '{column}'{nearest(column, columns)}")
        if kind not in KINDS:
            hint = nearest(str(kind), KINDS)
            raise UsageError(f"kinds: {column}: {kind} is unknown{hint}: use {', '.join(KINDS)}")


def _refuse_gaps(clicks: _Written, about: _Written, key: str) -> None:
    """Refuse clicks of items or users that a file about them lacks: RecBole leaves them out."""
    known = set(about.columns[key])
    lacking = [token for token in clicks.columns[key].unique() if token not in known]
    if lacking:
        raise UsageError(
            f"{about.what}: it lacks {len(lacking)} that the clicks have, such as {lacking[0]}; "
            "RecBole would leave their clicks out"
        )


def _kind_of(name: str, values: pd.Series, wanted: str | None) -> str:
    """Return the type of a column in RecBole's files."""
    if name in (USER, ITEM):
        return "token"
    if name == TIME:
        return "float"
    if wanted is not None:
        return wanted
    numbers = (types.is_numeric_dtype, types.is_bool_dtype, types.is_datetime64_any_dtype)
    if any(is_kind(values) for is_kind in numbers):
        return "float"
    found = [value for value in values if not _is_missing(value)]
    if found and all(isinstance(value, (list, tuple, np.ndarray)) for value in found):
        parts = [part for value in found for part in value]
        numeric = bool(parts) and all(_is_number(part) for part in parts)
        return "float_seq" if numeric else "token_seq"
    numeric = bool(found) and all(_is_number(value) or isinstance(value, bool) for value in found)
    return "float" if numeric else "token"


def _text_of(what: str, values: pd.Series, kind: str) -> pd.Series:
    """Return a column as text; empty where it is missing."""
    if kind == "float":
        return _numbers(what, values)
    if kind == "token":
        if types.is_float_dtype(values):
            values = _whole(values)
        texts = [("" if _is_missing(value) else str(value)) for value in values]
        _refuse_signs(what, texts, _BREAKS)
        return pd.Series(texts, dtype=object)
    texts = []
    for row, value in enumerate(values):
        if _is_missing(value):
            texts.append("")
            continue
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise UsageError(f"{what}: {value!r} in row {row} is no list")
        parts = [str(part) for part in value]
        if kind == "float_seq":
            parts = [_number(what, part, row) for part in value]
        _refuse_signs(what, parts, {**_BREAKS, " ": "a space"}, row)
        texts.append(" ".join(parts))
    return pd.Series(texts, dtype=object)


def _numbers(what: str, values: pd.Series) -> pd.Series:
    if types.is_datetime64_any_dtype(values):
        naive = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz else values
        nanoseconds = naive.astype("datetime64[ns]").astype("int64")
        seconds = [str(n // 10**9) + _fraction(n % 10**9) for n in nanoseconds]
        return pd.Series(seconds, dtype=object).where(values.notna(), "")
    found = [
        "" if _is_missing(value) else _number(what, value, row) for row, value in enumerate(values)
    ]
    return pd.Series(found, dtype=object)


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _number(what: str, value: Any, row: int) -> str:
    """Return a number as text that reads back as the same number."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if not _is_number(value):
        hint = "; pandas.to_datetime makes times of texts" if isinstance(value, str) else ""
        raise UsageError(f"{what}: {value!r} in row {row} is no number{hint}")
    if not np.isfinite(value):
        raise UsageError(f"{what}: {value} in row {row} is not finite")
    whole = isinstance(value, (int, np.integer)) or float(value).is_integer()
    return str(int(value)) if whole and abs(value) < _EXACT else repr(float(value))


def _whole(values: pd.Series) -> pd.Series:
    """Return tokens that became floats since one is missing as what they were, whole numbers."""
    found = values.dropna()
    if not (np.isfinite(found) & (found == np.round(found))).all():
        return values
    return values.astype("Int64").astype(object)


def _refuse_signs(
    what: str, texts: list[str], signs: Mapping[str, str], row: int | None = None
) -> None:
    for place, text in enumerate(texts):
        for sign, named in signs.items():
            if sign in text:
                where = place if row is None else row
                raise UsageError(f"{what}: {text!r} in row {where} has {named} in it")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return _is_number(value) and bool(np.isnan(value))
