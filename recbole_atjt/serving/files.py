"""Files of queries, read a line at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from recbole_atjt.errors import UsageError
from recbole_atjt.serving.queries import Query

_COLUMNS = ("user", "history")
_FORM = 'such as {"user": "196"} or {"history": ["50", "172"]}'


def read_queries(path: Path) -> Iterator[Query]:
    """Yield the queries of a file, each with a user, a history or both.

    Args:
        path: A ``.csv`` file with a column ``user``, ``history`` (items with spaces between) or
            both; or a ``.jsonl`` file with an object a line.

    Raises:
        UsageError: The file can't be read, or a line is no query; names it.
    """
    reader = _reader(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from reader(path, file)
    except OSError as error:
        raise UsageError(f"file={path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"file={path} is not in UTF-8") from error


def count_lines(path: Path) -> int:
    """Count the lines of a file, for a progress bar."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _reader(path: Path) -> Callable[[Path, TextIO], Iterator[Query]]:
    found = _READERS.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"file={path} ends in none of {', '.join(_READERS)}")
    return found


def _read_csv(path: Path, file: TextIO) -> Iterator[Query]:
    rows = csv.DictReader(file)
    names = rows.fieldnames or []
    if not set(_COLUMNS) & set(names):
        raise UsageError(
            f"file={path} has the columns {', '.join(names) or 'of an empty file'}: name one of "
            "them user, or history"
        )
    for row in rows:
        user, history = (row.get(name) or "" for name in _COLUMNS)
        if not user and not history.split():
            raise UsageError(f"file={path}, line {rows.line_num}: neither a user nor a history")
        yield Query(user or None, tuple(history.split()) or None)


def _read_lines(path: Path, file: TextIO) -> Iterator[Query]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield _query(line, f"file={path}, line {number}")


def _query(line: str, where: str) -> Query:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: write an object, {_FORM}") from error
    if not isinstance(values, dict) or not values or set(values) - set(_COLUMNS):
        raise UsageError(f"{where} is no query: write an object, {_FORM}")
    user, history = values.get("user"), values.get("history")
    if history is not None and not isinstance(history, list):
        raise UsageError(f"{where}: history={history!r} is no list of items")
    for token in [*([] if user is None else [user]), *(history or [])]:
        if isinstance(token, bool) or not isinstance(token, (str, int)):
            raise UsageError(f"{where}: {token!r} is no name of a user or an item")
    return Query(
        None if user is None else str(user), None if history is None else tuple(map(str, history))
    )


_READERS = {".csv": _read_csv, ".jsonl": _read_lines}
