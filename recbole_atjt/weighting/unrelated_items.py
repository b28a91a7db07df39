"""How much of the clicks on each item has nothing to do with the clicks beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, Counts, WeighedClicks, some_users
from recbole_atjt.weighting.neighbors import Reading, lifts_of
from recbole_atjt.weighting.ranks import BINS, bin_of, shares_by_rank

#: Places of other clicks that a click's place is compared with.
_DRAWS = 4
#: Of data without noise it is less, though items that everybody clicks on fit anywhere, too.
_WORTH = 0.08
_SEED = 20264


def noise_of_unrelated_items(clicks: Clicks, n_items: int) -> Tensor:
    """Return the share of noise in the clicks on each item, without any training, ``[n_items]``.

    What neighbours in other users' clicks say of a click
    (:class:`~recbole_atjt.weighting.neighbors.Neighbors`, counted once) is compared with what they
    say of its item in the places of other clicks. Its rank among these is uniform where the click
    has nothing to do with its neighbours, and tends to 1 where it has; an item whose ranks are
    uniform is one that users did not choose (:func:`~recbole_atjt.weighting.ranks.shares_by_rank`).
    Noise that is spread over all items is not seen. 0 for all items where it is little.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    every = WeighedClicks.of(clicks)
    generator = torch.Generator().manual_seed(_SEED)
    counts = [Counts.of(every, n_items)]
    chosen = some_users(every.user, generator)
    some = every.within(chosen)
    lift = lifts_of(counts, some, None, own=True)
    reading = Reading.of(counts, every, chosen, lift, generator)
    said = reading.log_ratio(lift, some.item)
    below, compared = torch.zeros(2, len(said), dtype=torch.float64)
    for _ in range(_DRAWS):
        source = torch.randperm(len(said), generator=generator)
        lift = lifts_of(counts, some, source, own=True)
        elsewhere = torch.empty_like(said)
        elsewhere[source] = reading.log_ratio(lift, some.item[source])
        below += elsewhere < said
        compared += ~elsewhere.isnan()
    known = (compared > 0) & ~said.isnan()
    chance = torch.rand(len(said), dtype=torch.float64, generator=generator)
    rank = (below + chance) / (1 + compared)
    ranks = said.new_zeros(n_items * BINS)
    place = (some.item * BINS + bin_of(rank))[known]
    ranks.index_add_(0, place, torch.ones_like(said[known]))
    ranks = ranks.view(n_items, BINS)
    shares = shares_by_rank(ranks)
    noisy = float(shares @ ranks.sum(1)) / max(1.0, float(ranks.sum()))
    return shares if noisy >= _WORTH else torch.zeros_like(shares)
