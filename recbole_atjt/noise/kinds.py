"""The kinds of noise: where they strike and what they put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.insertion import gaps
from recbole_atjt.noise.items import (
    by_frequency,
    draw_other,
    exchanged,
    of_two,
    on_bait,
    uniformly,
)
from recbole_atjt.noise.places import pairs, runs, scattered, whole_users
from recbole_atjt.noise.plan import Plan
from recbole_atjt.noise.similar import near

Place = Callable[[Clicks, np.ndarray, float, np.random.Generator], np.ndarray]
"""Clicks, which of them are free, share and generator to the rows that are replaced."""
Draw = Callable[[Clicks, np.ndarray, np.random.Generator, int], np.ndarray]
"""Clicks, rows, generator and number of clickbait items to the items that replace theirs."""

REPLACING: dict[str, tuple[Place, Draw]] = {
    "users": (whole_users, by_frequency),
    "burst": (runs, of_two),
    "swap": (pairs, exchanged),
    "uniform": (scattered, uniformly),
    "popular": (scattered, by_frequency),
    "clickbait": (scattered, on_bait),
    "similar": (scattered, near),
}
"""Kinds that replace clicks; those that need much room come first, since rows are disjoint."""
INSERT = "insert"
KINDS = (*REPLACING, INSERT)


@dataclass(frozen=True)
class Corrupted:
    """Clicks with noise and its truth.

    Args:
        items: Item of each click, ``[n]``.
        noise: Whether it is noise, ``[n]``.
        after: Row of the click that each added one follows, ascending, ``[m]``.
        added: Item of each added click; all of them are noise, ``[m]``.
    """

    items: np.ndarray
    noise: np.ndarray
    after: np.ndarray
    added: np.ndarray


def corrupt(clicks: Clicks, plan: Plan) -> Corrupted:
    """Plant noise in clicks; the same for the same clicks, shares and seed.

    Each kind draws from a generator of its own and reads the true clicks; no click gets noise of
    two kinds. A replaced item is never the true one and never padding.

    Args:
        clicks: The true clicks; they are not changed.
        plan: Kinds, shares, seed and number of clickbait items.

    Raises:
        UsageError: A share asks for more clicks, or ``plant_items`` for more items, than there are.
    """
    items, noise = clicks.items.copy(), np.zeros(len(clicks), dtype=bool)
    after = added = np.zeros(0, dtype=np.int64)
    if not len(clicks):
        return Corrupted(items, noise, after, added)
    for number, kind in enumerate(KINDS):
        share, rng = plan.shares.get(kind), np.random.default_rng([plan.seed, number])
        if share is None:
            continue
        if kind == INSERT:
            after = gaps(clicks, share, rng)
            added = draw_other(np.arange(1, clicks.n_items), items[after], rng)
            continue
        place, draw = REPLACING[kind]
        rows = place(clicks, ~noise, share, rng)
        items[rows] = draw(clicks, rows, rng, plan.items)
        noise[rows] = True
    return Corrupted(items, noise, after, added)
