"""Doing what is left of a bench, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from recbole_atjt.bench.cells import Cell, identity_of
from recbole_atjt.bench.journal import Journal
from recbole_atjt.bench.measure import measure

#: Seconds between two looks at cells that other processes have claimed.
WAIT = 0.5


def unfinished(cells: Sequence[Cell], journal: Journal, retried: int = 0) -> list[Cell]:
    """Return the cells that have no line yet.

    Args:
        cells: Cells of a bench.
        journal: Its finished cells.
        retried: Failures among that many first lines are to be made again.
    """
    done = {
        identity_of(line)
        for number, line in enumerate(journal.lines())
        if "failed" not in line or number >= retried
    }
    return [cell for cell in cells if cell.identity not in done]


def work(
    cells: Sequence[Cell],
    journal: Journal,
    retried: int = 0,
    report: Callable[[], object] = lambda: None,
) -> None:
    """Make every cell that is unfinished, until there is none.

    Cells that another process has claimed are waited for, and made here if it ends without them.

    Args:
        cells: Cells in the order of their making.
        journal: Where finished cells go.
        retried: See :func:`unfinished`.
        report: Called whenever there may be news.
    """
    while left := unfinished(cells, journal, retried):
        made = [_make(cell, journal, retried, report) for cell in left]
        if not any(made):
            time.sleep(WAIT)
            report()


def _make(cell: Cell, journal: Journal, retried: int, report: Callable[[], object]) -> bool:
    """Make a cell that nobody has claimed or finished meanwhile; tell whether it was made."""
    if not journal.claim(cell.identity):
        return False
    try:
        if not unfinished([cell], journal, retried):
            return False
        journal.append(measure(cell))
    finally:
        journal.release(cell.identity)
    report()
    return True
