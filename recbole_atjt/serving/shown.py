"""Recommendations as lines of text: a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from recbole_atjt.serving.queries import Query
from recbole_atjt.serving.recommender import Recommendation

#: Columns of a terminal that a table takes at most.
WIDTH = 80
_COLUMNS = ("query", "user", "rank", "item", "title", "score")


class Answer(NamedTuple):
    """A query and what is recommended."""

    number: int
    query: Query
    items: Sequence[Recommendation]


def csv_lines(answers: Iterator[Answer]) -> Iterator[str]:
    """Yield a header, and a line for each recommended item; none for an unknown query."""
    yield _row(_COLUMNS)
    for number, query, items in answers:
        for rank, each in enumerate(items, start=1):
            score = f"{each.score:.6g}"
            yield _row((number, query.user or "", rank, each.item, each.title, score))


def _row(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def json_lines(answers: Iterator[Answer]) -> Iterator[str]:
    """Yield an object for each query, with no items for an unknown one."""
    for number, query, items in answers:
        found = [
            {"item": each.item, "title": each.title, "score": float(f"{each.score:.6g}")}
            for each in items
        ]
        yield json.dumps({"query": number, "user": query.user, "items": found}, ensure_ascii=False)


def table_lines(answers: Iterator[Answer]) -> Iterator[str]:
    """Yield a small table for each query, cut to the width of a terminal."""
    for number, query, items in answers:
        if number > 1:
            yield ""
        yield f"user {query.user}" if query.user is not None else f"history {number}"
        if not items:
            yield "  no recommendations"
            continue
        width = min(max(len(each.item) for each in items), WIDTH // 3)
        room = WIDTH - width - 20
        titled = any(each.title for each in items)
        for rank, each in enumerate(items, start=1):
            title = f"  {_cut(each.title, room).ljust(room)}" if titled else ""
            yield f"{rank:>4}  {_cut(each.item, width).ljust(width)}{title}  {each.score:>10.4g}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


FORMATS: dict[str, Callable[[Iterator[Answer]], Iterator[str]]] = {
    "table": table_lines,
    "csv": csv_lines,
    "json": json_lines,
}
