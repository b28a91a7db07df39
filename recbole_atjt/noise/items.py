"""What is planted: the items that take the place of the true ones."""

from __future__ import annotations

import numpy as np

from recbole_atjt.errors import UsageError
from recbole_atjt.noise.clicks import Clicks


def draw_other(pool: np.ndarray, own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw from a pool, never what is there already: exact, without drawing twice.

    Args:
        pool: Items to draw from, ascending; one that is there m times is m times as likely.
        own: Item that each draw must not give, ``[k]``.
        rng: Generator to draw from.

    Returns:
        Items, ``[k]``.

    Raises:
        UsageError: The pool holds nothing but an item's own.
    """
    first, last = np.searchsorted(pool, own, "left"), np.searchsorted(pool, own, "right")
    others = len(pool) - (last - first)
    if not others.all():
        raise UsageError("plant: there is no other item to draw in the place of a true one")
    drawn = rng.integers(0, others)
    drawn += np.where(drawn >= first, last - first, 0)
    return pool[drawn]


def uniformly(clicks: Clicks, rows: np.ndarray, rng: np.random.Generator, _: int) -> np.ndarray:
    """Draw any other item for each of ``rows [k]``: items ``[k]``."""
    return draw_other(np.arange(1, clicks.n_items), clicks.items[rows], rng)


def by_frequency(clicks: Clicks, rows: np.ndarray, rng: np.random.Generator, _: int) -> np.ndarray:
    """Draw another item for each of ``rows [k]`` as often as it is clicked: items ``[k]``."""
    return draw_other(np.sort(clicks.items), clicks.items[rows], rng)


def bait_of(clicks: Clicks, rng: np.random.Generator, n_bait: int) -> np.ndarray:
    """Choose clickbait among the clicked items from the top 10 % to the median of frequency.

    Args:
        clicks: The clicks.
        rng: Generator to draw from.
        n_bait: Number of items.

    Returns:
        Items, ascending, ``[n_bait]``.

    Raises:
        UsageError: There are fewer such items.
    """
    frequency = np.bincount(clicks.items, minlength=clicks.n_items)
    ranked = np.argsort(-frequency, kind="stable")[: np.count_nonzero(frequency)]
    middling = ranked[len(ranked) // 10 : len(ranked) // 2]
    if n_bait > len(middling):
        raise UsageError(
            f"plant_items={n_bait} is out of range: {len(middling)} items lie between the top "
            "10 % and the median of popularity"
        )
    return np.sort(rng.choice(middling, n_bait, replace=False))


def on_bait(clicks: Clicks, rows: np.ndarray, rng: np.random.Generator, n_bait: int) -> np.ndarray:
    """Draw one of ``n_bait`` items of middling popularity for each of ``rows [k]``: ``[k]``."""
    return draw_other(bait_of(clicks, rng, n_bait), clicks.items[rows], rng)


def of_two(clicks: Clicks, rows: np.ndarray, rng: np.random.Generator, _: int) -> np.ndarray:
    """Draw one of two random items of the user for each of ``rows [k]``: items ``[k]``."""
    users, index = np.unique(clicks.user_index[rows], return_inverse=True)
    every = np.arange(1, clicks.n_items)
    one = rng.integers(1, clicks.n_items, len(users))
    two = np.stack([one, draw_other(every, one, rng)])
    pick = rng.integers(0, 2, len(rows))
    pick = np.where(two[pick, index] == clicks.items[rows], 1 - pick, pick)
    return two[pick, index]


def exchanged(clicks: Clicks, rows: np.ndarray, _: np.random.Generator, __: int) -> np.ndarray:
    """Exchange the items of each pair of ``rows [2 k]``: items ``[2 k]``."""
    items: np.ndarray = clicks.items[rows].reshape(-1, 2)[:, ::-1].ravel()
    return items
