"""Clicks that are added between others: where, when, and how rows move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recbole_atjt.errors import UsageError
from recbole_atjt.noise.clicks import Clicks


def gaps(clicks: Clicks, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw ``round(share * n)`` gaps between neighboring clicks of a user; one may be drawn twice.

    Args:
        clicks: The clicks, n of them.
        share: Share of the clicks.
        rng: Generator to draw from.

    Returns:
        Row of the click before each gap, ascending, ``[m]``.

    Raises:
        UsageError: No user has two clicks.
    """
    between = np.flatnonzero(clicks.users[1:] == clicks.users[:-1])
    if not len(between):
        raise UsageError("plant: insert needs a user with two training clicks, and there is none")
    return np.sort(rng.choice(between, round(share * len(clicks))))


@dataclass(frozen=True)
class Growth:
    """How rows move when rows are added between them.

    Args:
        size: Number of rows before, n.
        after: Row that each added one follows, ascending, ``[m]``.
    """

    size: int
    after: np.ndarray

    @cached_property
    def source(self) -> np.ndarray:
        """Row that each row is or, where it was added, that it follows, ``[n + m]``."""
        rows = np.arange(self.size)
        return np.insert(rows, self.after + 1, self.after)

    @cached_property
    def added(self) -> np.ndarray:
        """Where the added rows are, ``[m]``."""
        return self.after + 1 + np.arange(len(self.after))

    def moved(self, rows: np.ndarray) -> np.ndarray:
        """Return where the former ``rows [k]`` are now, ``[k]``."""
        return (rows + np.searchsorted(self.after, rows, "left")).astype(rows.dtype)


def times_between(first: np.ndarray, last: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Spread added clicks evenly over the time of their gaps.

    Args:
        first: Time of the click before each added one, ``[m]``.
        last: Time of the click after it, ``[m]``.
        after: Names each gap; equal ones side by side, ``[m]``.

    Returns:
        Times in the order of the clicks; whole numbers where the given ones are, ``[m]``.
    """
    begin, end = np.searchsorted(after, after, "left"), np.searchsorted(after, after, "right")
    number, parts = np.arange(len(after)) - begin + 1, end - begin + 1
    times: np.ndarray
    if np.issubdtype(first.dtype, np.integer):
        times = first + (last - first) * number // parts
    else:
        exact = first + (last.astype(np.float64) - first) * (number / parts)
        times = np.clip(exact.astype(first.dtype), first, last)
    return times
