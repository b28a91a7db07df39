"""Where noise is planted: which of the clicks are replaced."""

from __future__ import annotations

import numpy as np

from recbole_atjt.errors import UsageError
from recbole_atjt.noise.clicks import Clicks

BURST_REACH = 0.5
"""Share of a user's clicks that a burst takes, unless the asked share needs more."""


def scattered(
    clicks: Clicks, free: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Choose ``round(share * n)`` single clicks.

    Args:
        clicks: The clicks, n of them.
        free: Which clicks may be chosen, ``[n]``.
        share: Share of all clicks.
        rng: Generator to draw from.

    Returns:
        Rows of the chosen clicks, ascending, ``[k]``.

    Raises:
        UsageError: Fewer clicks are free.
    """
    count = _count(clicks, free, share)
    return np.sort(rng.choice(np.flatnonzero(free), count, replace=False))


def whole_users(
    clicks: Clicks, free: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Choose all clicks of ``round(share * u)`` of the u users; see `scattered`."""
    users = np.flatnonzero(np.logical_and.reduceat(free, clicks.starts))
    count = round(share * len(clicks.starts))
    if count > len(users):
        raise UsageError(f"plant: {count} whole users are asked for, and {len(users)} are left")
    chosen = np.zeros(len(clicks.starts), dtype=bool)
    chosen[rng.choice(users, count, replace=False)] = True
    return np.flatnonzero(chosen[clicks.user_index])


def runs(clicks: Clicks, free: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose ``round(share * n)`` clicks in runs, one run a user, half of a user's clicks long.

    Runs are longer where the share is larger than half, and the last one is cut so that the
    number is exact. See `scattered`.
    """
    count = _count(clicks, free, share)
    whole = np.logical_and.reduceat(free, clicks.starts)
    sizes = np.where(whole, clicks.sizes, 0)
    if count > sizes.sum():
        raise UsageError(
            f"plant: runs of {count} clicks are asked for, and {sizes.sum()} clicks are of users "
            "that have no other noise"
        )
    reach = max(BURST_REACH, count / max(sizes.sum(), 1))
    lengths = np.ceil(reach * sizes).astype(np.int64)
    order = rng.permutation(len(sizes))
    before = np.cumsum(lengths[order]) - lengths[order]
    lengths[order] = np.clip(count - before, 0, lengths[order])
    first = clicks.starts + np.floor(rng.random(len(sizes)) * (sizes - lengths + 1)).astype(int)
    rows = np.arange(len(clicks))
    index = clicks.user_index
    return np.flatnonzero((rows >= first[index]) & (rows < (first + lengths)[index]))


def pairs(clicks: Clicks, free: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose ``round(share * n / 2)`` disjoint pairs of neighboring clicks on different items.

    Args:
        clicks: The clicks, n of them.
        free: Which clicks may be chosen, ``[n]``.
        share: Share of all clicks.
        rng: Generator to draw from.

    Returns:
        Rows of the chosen clicks, ascending, so the two of a pair are side by side, ``[2 k]``.

    Raises:
        UsageError: There are fewer such pairs.
    """
    count = round(share * len(clicks) / 2)
    fits = free[1:] & free[:-1] & (clicks.users[1:] == clicks.users[:-1])
    fits &= clicks.items[1:] != clicks.items[:-1]
    position = np.arange(len(fits))
    starts_run = fits.copy()
    starts_run[1:] &= ~fits[:-1]
    run_start = np.maximum.accumulate(np.where(starts_run, position, 0))
    late = rng.integers(0, 2, len(fits))[run_start]  # a run of pairs starts at its first or second
    first = np.flatnonzero(fits & ((position - run_start) % 2 == late))
    if len(first) < count:
        first = np.flatnonzero(fits & ((position - run_start) % 2 == 0))
    if len(first) < count:
        raise UsageError(
            f"plant: swap asks for {count} pairs of neighboring clicks, and there are {len(first)}"
        )
    chosen = np.sort(rng.choice(first, count, replace=False))
    return (chosen[:, None] + np.arange(2)).ravel()


def _count(clicks: Clicks, free: np.ndarray, share: float) -> int:
    count = round(share * len(clicks))
    if count > free.sum():
        raise UsageError(
            f"plant: {count} more clicks are asked for, and {free.sum()} of the {len(clicks)} "
            "training clicks are left"
        )
    return count
