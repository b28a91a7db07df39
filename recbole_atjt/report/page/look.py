"""How lines are told apart: by color, dash and marker, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: The colors that figures are drawn with stand for variables of the page's style sheet.
INK, MUTED, GRID, SURFACE = "#010101", "#020202", "#030303", "#040404"
CLEAN, NOISY = "#050501", "#050502"
_SERIES = tuple(f"#0600{number:02d}" for number in range(1, 7))
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    CLEAN: "var(--clean)",
    NOISY: "var(--noisy)",
    **{color: f"var(--series-{number})" for number, color in enumerate(_SERIES, start=1)},
}


@dataclass(frozen=True)
class Look:
    """How a strategy's lines look in every figure.

    Attributes:
        color: One of the colors that stand for a variable.
        dash: Matplotlib's line style.
        marker: Matplotlib's marker.
    """

    color: str
    dash: Any
    marker: str


_PLAIN = Look(INK, "-", "o")
_ORACLE = Look(MUTED, (0, (1, 1.5)), "D")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (4, 1.5, 1, 1.5)), (0, (8, 2)), (0, (2, 1.5)))
_MARKERS = ("s", "^", "v", "P", "X", "p")


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the look of each strategy: plain training and the oracle have their own."""
    found = {}
    number = 0
    for name in dict.fromkeys(names):
        if name in ("none", "oracle"):
            found[name] = _PLAIN if name == "none" else _ORACLE
            continue
        found[name] = Look(
            _SERIES[number % len(_SERIES)],
            _DASHES[number % len(_DASHES)],
            _MARKERS[number % len(_MARKERS)],
        )
        number += 1
    return found
