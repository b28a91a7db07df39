"""The hardest noise: items near the true ones."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.items import uniformly

NEIGHBORS = 20
"""Nearest items among which `near` looks for one that the user has not clicked."""
_BLOCK = 4_000_000
"""Similarities that are held at a time."""


def near(clicks: Clicks, rows: np.ndarray, rng: np.random.Generator, _: int) -> np.ndarray:
    """Take the nearest item that the user has not clicked, for each of ``rows [k]``.

    Nearness is the cosine of the users who clicked both. Where the user has clicked all of the
    `NEIGHBORS` nearest, the nearest it is; where nobody has clicked both, any other item.

    Args:
        clicks: The clicks.
        rows: The clicks to replace.
        rng: Generator to draw from.

    Returns:
        Items, ``[k]``.
    """
    own, index = np.unique(clicks.items[rows], return_inverse=True)
    nearest = neighbors(clicks, own, NEIGHBORS)
    known = np.unique(clicks.user_index * np.int64(clicks.n_items) + clicks.items)
    users = clicks.user_index[rows] * np.int64(clicks.n_items)
    found: np.ndarray = nearest[index, 0]
    open_ = np.ones(len(rows), dtype=bool)
    for rank in range(nearest.shape[1]):
        candidate = nearest[index, rank]
        fits = open_ & (candidate > 0) & ~_is_in(known, users + candidate)
        found = np.where(fits, candidate, found)
        open_ &= ~fits
    lonely = found == 0
    found[lonely] = uniformly(clicks, rows[lonely], rng, 0)
    return found


def neighbors(clicks: Clicks, items: np.ndarray, most: int) -> np.ndarray:
    """Find the nearest other items by cosine of co-occurrence, nearest first.

    Args:
        clicks: The clicks.
        items: Items whose neighbors are wanted, ``[k]``.
        most: Number of neighbors, m; fewer where there are fewer items.

    Returns:
        Items, 0 where no further item has a user in common, ``[k, m]``.
    """
    cells = (np.ones(len(clicks), dtype=np.float32), (clicks.user_index, clicks.items))
    seen = sparse.csc_matrix(cells, shape=(len(clicks.starts), clicks.n_items))
    seen.data[:] = 1.0  # a repeated click counts once
    norm = np.sqrt(np.maximum(seen.getnnz(axis=0), 1)).astype(np.float32)
    most = min(most, clicks.n_items - 1)
    found = np.zeros((len(items), most), dtype=np.int64)
    step = max(1, _BLOCK // clicks.n_items)
    for start in range(0, len(items), step):
        block = items[start : start + step]
        cosine = (seen[:, block].T @ seen).toarray() / norm
        cosine[np.arange(len(block)), block] = 0.0
        best = np.argpartition(-cosine, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(cosine, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best = np.where(values > 0, best, 0)
        found[start : start + step] = np.take_along_axis(best, order, axis=1)
    return found


def _is_in(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    is_in: np.ndarray = ascending[place] == values
    return is_in
