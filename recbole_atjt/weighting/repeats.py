"""Clicks of a user on one item again and again: how many there are, and one of each."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Repeats:
    """Clicks of which many are repeated.

    Args:
        single: One click of each user and item, in the order of time, ``[K]``.
        times: The number of clicks that each stands for, ``[K]``.
        bait: Which items nobody chose, ``[n_items]``.
    """

    single: Clicks
    times: Tensor
    bait: Tensor


def repeats_of(clicks: Clicks, n_items: int) -> Repeats | None:
    """Return the clicks' repeats if users click on the same items again and again, else None.

    Clicks on items that nobody chose do not count, whose clicks have nothing to do with those
    beside them (:func:`~recbole_atjt.weighting.unrelated_items.noise_of_unrelated_items`): busy
    users click on bait again and again, which its items tell, whoever clicks on them.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    some = some_users(clicks.user, torch.Generator().manual_seed(_SEED))
    single, times = single_clicks(Clicks(clicks.user[some], clicks.item[some]), n_items)
    if not _are_many(times):
        return None
    bait = noise_of_unrelated_items(single, n_items, times) >= _UNRELATED
    if not _are_many(times, ~bait[single.item]):
        return None
    return Repeats(*single_clicks(clicks, n_items), bait)


def _are_many(times: Tensor, counts: Tensor | None = None) -> bool:
    """Tell whether clicks that are repeated are a part of all that counts.

    Args:
        times: Numbers of clicks of each user and item, ``[K]``.
        counts: Which of these count, ``[K]``; all where it is None.
    """
    many = times >= _MANY
    if counts is not None:
        many = many & counts
    return bool(many.any()) and bool(times[many].sum() >= _PART * times.sum())


def single_clicks(clicks: Clicks, n_items: int) -> tuple[Clicks, Tensor]:
    """Return one click of each user and item, in the order of time, and how many there are.

    Any of them is drawn: first clicks on what is clicked all the time gather where users begin, as
    if they had to do with each other.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.

    Returns:
        Clicks, ``[K]``, and the number of clicks that each stands for, ``[K]``.
    """
    key, order = key_of(clicks.user, clicks.item, n_items).sort(stable=True)
    times = torch.unique_consecutive(key, return_counts=True)[1]
    generator = torch.Generator().manual_seed(_SEED)
    drawn = torch.rand(len(times), dtype=torch.float64, generator=generator) * times
    single, order = order[times.cumsum(0) - times + drawn.long()].sort()
    return Clicks(clicks.user[single], clicks.item[single]), times[order]


def as_neighbors_read(clicks: Clicks, n_items: int) -> Clicks:
    """Return the clicks that neighbours are read of: where many are repeated, one of each.

    A click that stands among others on its own item has nobody to speak for it.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    repeats = repeats_of(clicks, n_items)
    return clicks if repeats is None else repeats.single
