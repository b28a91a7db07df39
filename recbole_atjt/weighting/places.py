"""Whether clicks fit their places, among the places that their items might have had."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, Counts, WeighedClicks, some_users
from recbole_atjt.weighting.neighbors import Reading, lifts_of

#: Places of other clicks that a click's place is compared with.
_DRAWS = 4


def ranks_among_places(clicks: Clicks, n_items: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rank clicks among their items in the places of other clicks.

    What neighbours in other users' clicks say of a click
    (:class:`~recbole_atjt.weighting.neighbors.Neighbors`, counted once) is compared with what they
    say of its item in the places of other clicks. Its rank among these is uniform over [0, 1] where
    the click has nothing to do with its neighbours, and tends to 1 where it has. NaN where nothing
    is known.

    Args:
        clicks: The clicks, T of them.
        n_items: Number of items, the padding included.
        seed: Draws the users whose clicks are compared, and the places.

    Returns:
        Which clicks are compared, ``[T]``, and their ranks, ``[C]`` float64.
    """
    every, generator = WeighedClicks.of(clicks), torch.Generator().manual_seed(seed)
    chosen = some_users(every.user, generator)
    counts = [Counts.of(every, n_items)]
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
    return chosen, torch.where(known, (below + chance) / (1 + compared), torch.nan)
