"""How much of the clicks on each item has nothing to do with the clicks beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.places import ranks_among_places
from recbole_atjt.weighting.ranks import shares_by_rank, table_of

#: Of data without noise it is less, though items that everybody clicks on fit anywhere, too.
_WORTH = 0.08
_SEED = 20264


def noise_of_unrelated_items(clicks: Clicks, n_items: int, times: Tensor | None = None) -> Tensor:
    """Return the share of noise in the clicks on each item, without any training, ``[n_items]``.

    An item whose clicks fit their places no better than those of other clicks
    (:func:`~recbole_atjt.weighting.places.ranks_among_places`) is one that users did not choose
    (:func:`~recbole_atjt.weighting.ranks.shares_by_rank`). Noise that is spread over all items is
    not seen. 0 for all items where it is little.

    Args:
        clicks: The clicks, T of them.
        n_items: Number of items, the padding included.
        times: How many each counts for where it is asked whether noise is little, ``[T]``; one
            each by default.
    """
    chosen, rank = ranks_among_places(clicks, n_items, _SEED)
    item = clicks.item[chosen]
    shares = shares_by_rank(table_of(item, rank, n_items))
    counted = (~rank.isnan()).double()
    if times is not None:
        counted *= times[chosen]
    noisy = float(shares[item] @ counted) / max(1.0, float(counted.sum()))
    return shares if noisy >= _WORTH else torch.zeros_like(shares)
