r"""What the tail of a test of independence says of the noise in clicks.

A click that does not depend on its history is less likely than under a tenth of random histories
with probability one tenth, whatever the model is. Clean clicks are there seldom.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A target is in the tail where at most this share of random histories makes it less likely.
TAIL = 0.1
#: Clean targets in the tail, as a part of what noise has there; seen on data without noise.
CLEAN_IN_TAIL = 0.05
#: Parts of equally many clicks that items are divided into, in the order of their frequencies.
_PARTS = 10
#: Shares of noise that an item may hold, from none of even the clean clicks in the tail on.
_SHARES = 22
#: Items of the whole that stand beside the items of each part.
_PRIOR_ITEMS = 5.0
_ROUNDS = 60
#: Items at most that say which shares are usual.
_ITEMS = 20_000


def independent(tail: Tensor, compared: Tensor) -> Tensor:
    """Return the share of clicks that are independent of their history, unclipped.

    Args:
        tail: Clicks in the tail, any shape.
        compared: Clicks that were compared, of the same shape.
    """
    return (tail / compared / TAIL - CLEAN_IN_TAIL) / (1 - CLEAN_IN_TAIL)


def standard_error(tail: Tensor, compared: Tensor) -> Tensor:
    """Return the standard error of the share that is independent, 0 where nothing was compared.

    Args:
        tail: Clicks in the tail, any shape; at least one is reckoned with.
        compared: Clicks that were compared, of the same shape.
    """
    count = compared.clamp_min(1.0)
    part = torch.maximum(tail, torch.ones_like(tail)) / count
    error = (part * (1 - part).clamp_min(0.0) / count).sqrt() / TAIL / (1 - CLEAN_IN_TAIL)
    return torch.where(compared > 0, error, torch.zeros_like(error))


def noise_of_items(tail: Tensor, compared: Tensor, clicks: Tensor) -> Tensor:
    r"""Return the share of noise in the clicks on each item, by empirical Bayes, ``[n_items]``.

    Of an item's :math:`n_y` compared clicks, the number in the tail is binomial with
    :math:`TAIL \, (c + (1 - c) \, s_y)`, c that of clean clicks and :math:`s_y` the item's share
    of noise. Single items have too few clicks for it. So they are divided into parts by how often
    they are clicked, since noise hits frequent items more or less than rare ones; the distribution
    of the shares in each part is the one of highest likelihood (EM; Robbins 1956, Laird 1978), and
    the item's share is its posterior mean. Items that noise fell on alone stand out from their
    part; noise that is everywhere is found as the part's.

    Args:
        tail: Clicks on each item in the tail, ``[n_items]``.
        compared: Clicks on each item that were compared, at least one of all, ``[n_items]``.
        clicks: All clicks on each item, ``[n_items]``.
    """
    order = clicks.argsort()
    order = order[clicks[order] > 0]
    low, counted, number = tail[order], compared[order], clicks[order]
    share = torch.linspace(-CLEAN_IN_TAIL, 1.0, _SHARES).to(tail)
    rate = TAIL * (CLEAN_IN_TAIL + (1 - CLEAN_IN_TAIL) * share)
    log_likelihood = low.unsqueeze(1) * rate.log() + (counted - low).unsqueeze(1) * (-rate).log1p()
    likelihood = log_likelihood.sub_(log_likelihood.amax(1, keepdim=True)).exp_()
    before = number.cumsum(0) - number / 2
    part = (before / number.sum() * _PARTS).long().clamp_max(_PARTS - 1)
    some = (counted > 0).nonzero().squeeze(1)
    some = some[:: -(-len(some) // _ITEMS)]
    prior = _prior(likelihood[some], part[some])
    posterior = likelihood.mul_(prior[part])
    found = torch.zeros_like(tail)
    found[order] = ((posterior @ share) / posterior.sum(1)).clamp_min(0.0)
    return found


def _prior(likelihood: Tensor, part: Tensor) -> Tensor:
    """Return how usual each share is in each part, ``[parts, shares]``.

    Args:
        likelihood: Of each share for each item, ``[m, shares]``.
        part: Of each item, ``[m]``.
    """
    everywhere = torch.full_like(likelihood[0], 1 / _SHARES)
    for _ in range(_ROUNDS):
        posterior = likelihood * everywhere
        everywhere = (posterior / posterior.sum(1, keepdim=True)).mean(0)
    prior = everywhere.repeat(_PARTS, 1)
    for _ in range(_ROUNDS):
        posterior = likelihood * prior[part]
        posterior /= posterior.sum(1, keepdim=True)
        prior = (_PRIOR_ITEMS * everywhere).repeat(_PARTS, 1).index_add_(0, part, posterior)
        prior /= prior.sum(1, keepdim=True)
    return prior
