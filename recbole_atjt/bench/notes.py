"""What stands under a bench's table: how to read it, and what not to believe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recbole_atjt.bench.cells import NOTHING, identity_of
from recbole_atjt.bench.rows import PLAIN, Row
from recbole_atjt.bench.specification import Bench


def group_name(row: Row) -> str:
    """Return what a row's group is called."""
    planted = "nothing planted" if row.plant == NOTHING else f"{row.plant} planted"
    return f"{row.model} on {row.dataset}, {planted}"


def notes(rows: Sequence[Row]) -> list[str]:
    """Return the notes on rows of one metric: what was tried, what is within the spread."""
    return [*_tried(rows), *_within(rows)]


def notes_on_lines(bench: Bench, lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is to be said of the finished cells: missing, failed, of other versions."""
    wanted = {cell.identity: cell for cell in bench.cells}
    found = {identity_of(line): line for line in lines}
    used = {identity: line for identity, line in found.items() if identity in wanted}
    if len(used) < len(wanted):
        yield f"{len(wanted) - len(used)} of {len(wanted)} cells are not finished"
    foreign = len(found) - len(used)
    if foreign:
        yield f"{foreign} finished cells are of other settings or left out here"
    for identity, line in used.items():
        if "failed" in line:
            cell = wanted[identity]
            yield f"failed: {cell}, seed {cell.seed}: {line['failed']}"
    kinds = {str(sorted((line.get("versions") or {}).items())) for line in used.values()}
    if len(kinds) > 1:
        yield f"the cells were made with {len(kinds)} sets of versions; each line has its own"


def _tried(rows: Sequence[Row]) -> Iterator[str]:
    """Say how many configurations of each strategy were tried on validation."""
    tried = {row.strategy: row.tried for row in rows}
    several = [f"{name} {count}" for name, count in tried.items() if count > 1]
    rest = "one of each" if not several else ", ".join(several)
    more = ", one of each other" if several and len(several) < len(tried) else ""
    yield f"configurations tried on validation: {rest}{more}"
    for row in rows:
        if row.chosen:
            yield f"{group_name(row)}: validation chooses '{row.strategy}' of its variants"


def _within(rows: Iterable[Row]) -> Iterator[str]:
    """Warn of differences that are smaller than the spread of the seeds."""
    within: dict[str, list[str]] = {}
    for row in rows:
        if row.within_spread:
            within.setdefault(group_name(row), []).append(row.strategy)
    for name, strategies in within.items():
        yield (
            f"warning: {name}: the difference to {PLAIN} is smaller than the spread over the "
            f"seeds for {', '.join(strategies)}"
        )
