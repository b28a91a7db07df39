"""Clicks that users repeat again and again on items that have nothing to do with their others."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, Table, key_of
from recbole_atjt.weighting.places import ranks_among_places
from recbole_atjt.weighting.ranks import shares_by_rank, table_of
from recbole_atjt.weighting.repeats import repeats_of, single_clicks

#: Clicks of a user on one item that are tested together: from so many on, up to the next.
_TIMES = (2, 3, 4, 6, 10)
#: A share of such clicks below this is none.
_WORTH = 0.05
_SEED = 20265


class UnrelatedRepeats:
    r"""Tells clicks that were repeated without interest, without any training.

    Machines, and fingers that slip, click on the same item again and again. So do users on what
    they love. Of each user and item one click is kept, and its rank among the item's places in
    other users' clicks is uniform where the item has nothing to do with what else the user clicks
    on (:func:`~recbole_atjt.weighting.places.ranks_among_places`). The pairs of a user and an item
    with about as many clicks have a share of such pairs
    (:func:`~recbole_atjt.weighting.ranks.shares_by_rank`), which is the probability of each to be
    one. Pairs with a single click are never held for such, nor those with an item that nobody chose
    (:class:`~recbole_atjt.weighting.repeats.Repeats`), which its clicks tell.

    Args:
        clicks: The clicks that are counted and tested.
        n_items: Number of items, the padding included.
        others: Clicks of other users to speak of, which do not count.
    """

    def __init__(self, clicks: Clicks, n_items: int, others: Clicks | None = None) -> None:
        self._n_items = n_items
        repeats = repeats_of(clicks, n_items)
        #: The clicks as neighbours read them.
        self.read = clicks if repeats is None else repeats.single
        #: Share of such clicks; 0 where there are none.
        self.share = 0.0
        self._table = Table(torch.zeros(0, dtype=torch.long), torch.zeros(0))
        if repeats is None:
            return
        single, times, bait = repeats.single, repeats.times, repeats.bait
        group = _group(times, single, bait)
        noise = self._noise_of_groups(single, group)
        share = float((noise[group] * times).sum()) / len(clicks.item)
        if share < _WORTH:
            return
        self.share = share
        known = [(single, times)]
        if others is not None:
            known.append(single_clicks(others, n_items))
        key = torch.cat([key_of(each.user, each.item, n_items) for each, _ in known])
        sound = torch.cat([1 - noise[_group(number, each, bait)].float() for each, number in known])
        self._table = Table.of(key, sound)

    def sound(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the probability of clicks not to be such, 1 of those that are unknown, ``[S]``.

        Args:
            user: Ids, ``[S]``.
            item: Theirs, ``[S]``.
        """
        return self._table.found(key_of(user, item, self._n_items), 1.0)

    def _noise_of_groups(self, clicks: Clicks, group: Tensor) -> Tensor:
        """Return the share of noise in single clicks by their group, ``[groups]``."""
        chosen, rank = ranks_among_places(clicks, self._n_items, _SEED)
        noise = shares_by_rank(table_of(group[chosen], rank, len(_TIMES) + 1))
        noise[0] = 0.0  # of those that stand for themselves others tell
        return noise


def _group(times: Tensor, clicks: Clicks, bait: Tensor) -> Tensor:
    """Return the numbers of the groups of single clicks, ``[K]``.

    Args:
        times: How many clicks each stands for, ``[K]``.
        clicks: One of each user and item.
        bait: Items that nobody chose, whose clicks are as single ones, ``[n_items]``.
    """
    group = torch.bucketize(times, torch.tensor(_TIMES), right=True)
    return group.masked_fill(bait[clicks.item], 0)
