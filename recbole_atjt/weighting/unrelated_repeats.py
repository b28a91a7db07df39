"""Clicks that users repeat again and again on items that have nothing to do with their others."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, WeighedClicks, found_in, some_users
from recbole_atjt.weighting.places import ranks_among_places
from recbole_atjt.weighting.ranks import shares_by_rank, table_of

#: Clicks of a user on one item that are tested together: from so many on, up to the next.
_TIMES = (2, 3, 4, 6, 10)
#: From so many on they are repeated again and again;
_MANY = 4
#: where these are less than this part of all clicks, or the noise in them is, there is none.
_WORTH = 0.05
_SEED = 20265


class UnrelatedRepeats:
    r"""Tells clicks that were repeated without interest, without any training.

    Machines, and fingers that slip, click on the same item again and again. So do users on what
    they love. Of each user and item the first click alone is kept, and its rank among the item's
    places in other users' clicks is uniform where the item has nothing to do with what else the
    user clicks on (:func:`~recbole_atjt.weighting.places.ranks_among_places`). The pairs of a user
    and an item with about as many clicks have a share of such pairs
    (:func:`~recbole_atjt.weighting.ranks.shares_by_rank`), which is the probability of each to be
    one. Pairs with a single click are never held for such.

    Args:
        clicks: The clicks that are counted and tested.
        n_items: Number of items, the padding included.
        others: Clicks of other users to speak of, which do not count.
    """

    def __init__(self, clicks: Clicks, n_items: int, others: Clicks | None = None) -> None:
        self._n_items = n_items
        #: Share of such clicks; 0 where there are none.
        self.share = 0.0
        self._table = torch.zeros(0, dtype=torch.long), torch.zeros(0)
        if not self._many(clicks):
            return
        noise = self._noise_of_groups(clicks)
        known = [self._pairs(each) for each in (clicks, others) if each is not None]
        times = known[0][1]
        share = float((noise[_group(times)] * times).sum()) / len(clicks.item)
        if share < _WORTH:
            return
        self.share = share
        keys, times = (torch.cat(each) for each in zip(*known))
        order = keys.argsort()
        self._table = keys[order], 1 - noise[_group(times)][order].float()

    def sound(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the probability of clicks not to be such, 1 of those that are unknown, ``[S]``.

        Args:
            user: Ids, ``[S]``.
            item: Theirs, ``[S]``.
        """
        if self._table[0].device != user.device:
            self._table = self._table[0].to(user.device), self._table[1].to(user.device)
        return found_in(self._table, self._key(user, item), 1.0)

    def _key(self, user: Tensor, item: Tensor) -> Tensor:
        return user.long() * self._n_items + item

    def _pairs(self, clicks: Clicks) -> tuple[Tensor, Tensor]:
        """Return keys of users and items, ascending, and how many clicks each has, ``[K]``."""
        key, times = torch.unique(self._key(clicks.user, clicks.item), return_counts=True)
        return key, times

    def _many(self, clicks: Clicks) -> bool:
        """Tell whether enough clicks are repeated to be looked at."""
        some = some_users(clicks.user, torch.Generator().manual_seed(_SEED))
        times = self._pairs(Clicks(clicks.user[some], clicks.item[some]))[1]
        return bool(times[times >= _MANY].sum() >= _WORTH * times.sum()) and len(times) > 0

    def _noise_of_groups(self, clicks: Clicks) -> Tensor:
        """Return the share of noise in pairs by how many clicks they have, ``[groups]``."""
        key = self._key(clicks.user, clicks.item)
        _, place, times = torch.unique(key, return_inverse=True, return_counts=True)
        first = torch.full_like(times, len(key))
        first.scatter_reduce_(0, place, torch.arange(len(key)), "amin")
        first = first.sort().values
        once = WeighedClicks.of(Clicks(clicks.user[first], clicks.item[first]))
        generator = torch.Generator().manual_seed(_SEED)
        chosen = some_users(once.user, generator)
        rank = ranks_among_places(once, self._n_items, chosen, generator)
        group = _group(times[place[first]][chosen])
        noise = shares_by_rank(table_of(group, rank, len(_TIMES) + 1))
        noise[0] = 0.0  # of single clicks others tell
        return noise


def _group(times: Tensor) -> Tensor:
    """Return the number of the group that pairs with so many clicks are in, as ``times``."""
    return torch.bucketize(times, torch.tensor(_TIMES), right=True)
