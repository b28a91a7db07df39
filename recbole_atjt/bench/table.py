"""A bench's rows as text: for the screen, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby

from recbole_atjt.bench.notes import group_name, notes
from recbole_atjt.bench.rows import Row

Column = tuple[str, Callable[[Row], str]]


def figure(row: Row) -> str:
    """Return mean and standard deviation of a row as text."""
    if row.mean is None:
        return "failed" if row.failed else ""
    return f"{row.mean:.4f}" + ("" if row.deviation is None else f" ± {row.deviation:.4f}")


def _interval(row: Row) -> str:
    if row.against is None or row.against.interval is None:
        return ""
    low, high = row.against.interval
    return f"{low:+.4f} to {high:+.4f}"


def _headroom(row: Row) -> str:
    if row.room is None:
        return ""
    return str(row.room) if row.room.is_known else "none to recover"


def _reported(row: Row) -> str:
    if row.reported is None:
        return ""
    figure, change = row.reported
    return f"{figure:.4f}" + ("" if change is None else f" ({change:+.1%})")


def _seeds(row: Row) -> str:
    return f"{len(row.seeds)}" + (f", {row.failed} failed" if row.failed else "")


def _record(row: Row) -> str:
    found = row.against
    return "" if found is None else f"{found.wins}/{found.ties}/{found.losses}"


#: Columns behind strategy and figure, in the order of the table.
COLUMNS: tuple[Column, ...] = (
    ("seeds", _seeds),
    ("change", lambda row: "" if row.change is None else f"{row.change:+.1%}"),
    ("95 % of difference", _interval),
    ("p (Holm)", lambda row: "" if row.p is None else f"{row.p:.3f}"),
    ("win/tie/loss", _record),
    ("headroom", _headroom),
    ("AUROC", lambda row: "" if row.auroc is None else f"{row.auroc:.3f}"),
    ("found", lambda row: "" if row.share is None else f"{row.share:.3f}"),
    ("reported", _reported),
    ("tried", lambda row: str(row.tried)),
)
#: What a note below the table says on the screen.
_NOTED = "tried"
#: Columns that a narrow screen does without, the first of them first.
_DISPENSABLE = (
    "seeds",
    "found",
    "AUROC",
    "95 % of difference",
    "reported",
    "headroom",
    "win/tie/loss",
    "p (Holm)",
)
_GAP = "  "


def screen(rows: Sequence[Row], width: int) -> str:
    """Return the table of a metric for a screen, with its notes.

    Args:
        rows: Rows of one metric.
        width: Characters that a line may have; columns that do not fit are left out, and named.
    """
    columns, left_out = _fitting(rows, width)
    lines = []
    header = [f"{rows[0].metric}, {rows[0].part}", *(name for name, _ in columns[1:])]
    cells = [[text(row) for _, text in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells)]
    for name, group in groupby(range(len(rows)), key=lambda place: group_name(rows[place])):
        lines += ["", name, _line(header, widths), "-" * min(width, sum(widths) + 2 * len(widths))]
        lines += [_line(cells[place], widths) for place in group]
    below = notes(rows)
    if left_out:
        hidden = ", ".join(left_out)
        below.insert(0, f"too narrow for {hidden}: --markdown and --csv have them")
    wrapped = [textwrap.fill(note, width, subsequent_indent=_GAP) for note in below]
    return "\n".join([*lines[1:], "", *wrapped])


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of a metric as Markdown, with its notes as a list."""
    columns = _used(rows)
    first = rows[0]
    heads = ["model, data", "planted", "strategy", f"{first.metric}, {first.part}"]
    heads += [name for name, _ in columns[2:]]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in rows:
        label, *cells = [text(row) for _, text in columns]
        names = [f"{row.model}, {row.dataset}", row.plant, f"`{label}`"]
        lines.append(f"| {' | '.join([*names, *cells])} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(rows)), ""])


def comma_separated(rows: Sequence[Row]) -> str:
    """Return all figures of rows, of any metrics, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_record_of(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record_of(row) for row in rows)
    return text.getvalue()


def _record_of(row: Row) -> dict[str, object]:
    against, room, reported = row.against, row.room, row.reported
    low, high = (against and against.interval) or (None, None)
    room_low, room_high = (room and room.interval) or (None, None)
    return {
        "model": row.model,
        "dataset": row.dataset,
        "plant": row.plant,
        "strategy": row.strategy,
        "metric": row.metric,
        "part": row.part,
        "seeds": " ".join(map(str, row.seeds)),
        "failed": row.failed,
        "tried": row.tried,
        "chosen": row.chosen,
        "mean": row.mean,
        "deviation": row.deviation,
        "change": row.change,
        "difference": against and against.difference,
        "difference_low": low,
        "difference_high": high,
        "p": against and against.p,
        "p_holm": row.p,
        "wins": against and against.wins,
        "ties": against and against.ties,
        "losses": against and against.losses,
        "within_spread": row.within_spread,
        "headroom": room.recovered if room and room.is_known else None,
        "headroom_low": room_low if room and room.is_known else None,
        "headroom_high": room_high if room and room.is_known else None,
        "oracle_gain": room and room.gain,
        "noise_auroc": row.auroc,
        "noise_share": row.share,
        "reported": reported and reported[0],
        "reported_change": reported and reported[1],
    }


def _used(rows: Sequence[Row]) -> list[Column]:
    """Return strategy, figure and the columns that say something of a row."""
    used = [column for column in COLUMNS if any(column[1](row) for row in rows)]
    return [("strategy", lambda row: row.strategy), ("figure", figure), *used]


def _fitting(rows: Sequence[Row], width: int) -> tuple[list[Column], list[str]]:
    """Return the columns that a screen has room for, and the names of those left out."""
    columns = [column for column in _used(rows) if column[0] != _NOTED]
    left_out = []
    for name in _DISPENSABLE:
        if _width(rows, columns) <= width:
            break
        kept = [column for column in columns if column[0] != name]
        left_out += [name] if len(kept) < len(columns) else []
        columns = kept
    return columns, left_out


def _width(rows: Sequence[Row], columns: Sequence[Column]) -> int:
    widths = [max(len(name), *(len(text(row)) for row in rows)) for name, text in columns]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths))
    ]
    return _GAP.join([first, *others]).rstrip()
