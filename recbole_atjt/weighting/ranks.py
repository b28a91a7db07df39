"""What clicks' ranks among such that depend on nothing say of the noise of each item."""

from __future__ import annotations

import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

#: Bins of a click's rank.
BINS = 10
#: Probability of an item to hold no noise, before anything is known.
_SOUND = 0.95
#: Shares of noise that an item may hold.
_SHARES = 11
#: Least density of clean clicks' ranks, relative to that of noise.
_LEAST = 0.05
_ROUNDS = 30


def bin_of(rank: Tensor) -> Tensor:
    """Return the bins of ranks in [0, 1], of their shape, int64."""
    return (rank * BINS).long().clamp_max(BINS - 1)


def table_of(group: Tensor, rank: Tensor, groups: int) -> Tensor:
    """Return how many clicks of each group are in each bin of ranks, ``[groups, BINS]`` float64.

    Args:
        group: Those of clicks, such as their items, ``[C]``.
        rank: Theirs, NaN where they are not known, ``[C]``.
        groups: Their number.
    """
    known = ~rank.isnan()
    place = group[known] * BINS + bin_of(rank[known])
    return torch.bincount(place, minlength=groups * BINS).double().view(groups, BINS)


@torch.no_grad()
def shares_by_rank(ranks: Tensor) -> Tensor:
    r"""Return the share of noise in the clicks on each item, ``[n_items]``.

    Noise has ranks that are uniform, those of clean clicks tend to 1. Ranks of the clicks on one
    item are drawn from :math:`s_y + (1 - s_y) \, g(u)`, with g the density of clean clicks' ranks,
    never falling, and :math:`s_y` the item's share of noise: 0 for most items, and as likely any
    other. It is found by empirical Bayes (EM over :math:`s_y` and g); where too little is known it
    is 0.

    Args:
        ranks: Clicks on each item in each bin of ranks, ``[n_items, BINS]`` float64.
    """
    found = ranks.new_zeros(len(ranks))
    seen = ranks.sum(1) > 0
    if not bool(seen.any()):
        return found
    counts = ranks[seen]
    clicks = counts.sum(1)
    density = counts.sum(0) / counts.sum() * BINS
    shares = torch.linspace(0, 1, _SHARES).to(counts)
    prior = torch.full_like(shares, (1 - _SOUND) / (_SHARES - 1))
    prior[0] = _SOUND
    noise, share = counts.new_zeros(()), clicks.new_zeros(len(clicks))
    for _ in range(_ROUNDS):
        clean = _rising_density((density - noise) / (1 - noise))
        mixed = shares + (1 - shares) * clean.unsqueeze(1)  # [bins, shares]
        posterior = (counts @ mixed.log() + prior.log()).softmax(1)
        share = (posterior @ shares) * (posterior[:, 0] < 0.5)
        noise = (share * clicks).sum() / clicks.sum()
    found[seen] = share
    return found


def _rising_density(density: Tensor) -> Tensor:
    """Return the nearest density over bins that never falls, with mean 1, ``[bins]``."""
    rising = torch.as_tensor(isotonic_regression(density.cpu().numpy()).x).to(density)
    rising = rising.clamp_min(_LEAST)
    return rising / rising.mean()
