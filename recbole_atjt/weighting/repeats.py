"""Clicks of a user on one item again and again: how many there are, and the first ones alone."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, key_of, some_users
from recbole_atjt.weighting.unrelated_items import noise_of_unrelated_items

#: Clicks on one item from which on it is clicked again and again, and what part of all clicks such
#: ones are where there are many.
_MANY, _PART = 4, 0.05
#: Items with this share of noise are such that users did not choose.
_UNRELATED = 0.5
_SEED = 20265


def are_repeated(clicks: Clicks, n_items: int) -> bool:
    """Tell whether users click on the same items again and again, of some of many users.

    Clicks on items whose clicks are unrelated
    (:func:`~recbole_atjt.weighting.unrelated_items.noise_of_unrelated_items`) do not count: busy
    users click on bait again and again, which its items tell, whoever clicks on them.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    some = some_users(clicks.user, torch.Generator().manual_seed(_SEED))
    first, times = first_clicks(Clicks(clicks.user[some], clicks.item[some]), n_items)
    many, least = times >= _MANY, _PART * times.sum()
    if not len(times) or times[many].sum() < least:
        return False
    return bool(times[many & ~nobody_chose(first, n_items)[first.item]].sum() >= least)


def nobody_chose(clicks: Clicks, n_items: int) -> Tensor:
    """Tell items that users did not choose, of first clicks, ``[n_items]``."""
    return noise_of_unrelated_items(clicks, n_items) >= _UNRELATED


def first_clicks(clicks: Clicks, n_items: int) -> tuple[Clicks, Tensor]:
    """Return the first click of each user and item, in the order of time, and how many there are.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.

    Returns:
        Clicks, ``[K]``, and the number of clicks that each stands for, ``[K]``.
    """
    key = key_of(clicks.user, clicks.item, n_items)
    _, place, times = torch.unique(key, return_inverse=True, return_counts=True)
    first = torch.full_like(times, len(key))
    first.scatter_reduce_(0, place, torch.arange(len(key)), "amin")
    first = first.sort().values
    return Clicks(clicks.user[first], clicks.item[first]), times[place[first]]


def as_neighbors_read(clicks: Clicks, n_items: int) -> Clicks:
    """Return the clicks that neighbours are read of: where many are repeated, the first ones.

    A click that stands among others on its own item has nobody to speak for it.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    return first_clicks(clicks, n_items)[0] if are_repeated(clicks, n_items) else clicks
