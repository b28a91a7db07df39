"""What items score under random histories, for heads that do not score all items at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import clicked, target_scores

#: A target is in the tail where at most this share of random histories makes it less likely.
TAIL = 0.1
#: Random histories that a target is compared with where all items are scored.
_COMPARED = 32
#: Scores that differ by less, relatively, are the same.
_ROUNDING = 1e-5
#: What a draw leaves of the weight of an item's earlier draws: about the last ten count.
_KEPT = 0.9
#: What a batch leaves of the weight of earlier batches in what is held of all items.
_KEPT_OF_ALL = 0.9
#: Weight of what is held of all items in what is held of one, in draws.
_PRIOR_DRAWS = 5.0
#: Every so many batches the batch's targets change histories.
_EVERY = 8


class RandomHistories(nn.Module):
    r"""How far the score of an item lies above its scores under random histories.

    A model that scores all items at once does so for some histories of each batch. Elsewhere,
    every few batches the batch's targets change histories, and the model scores them again. The
    gap between both scores changes slowly; the level of an item's score, which moves with
    every step, is followed by the scores of its own clicks:

    .. math:: E_{s'} score(s', y) \approx \overline{score}(y) - \overline{gap}(y)

    Args:
        n_items: Number of items, the padding included.
    """

    level: Tensor
    gap: Tensor
    overall: Tensor
    tail: Tensor

    def __init__(self, n_items: int) -> None:
        super().__init__()
        #: Weight and sum of the scores of each item's clicks.
        self.register_buffer("level", torch.zeros(n_items, 2, dtype=torch.float64))
        #: Weight, sum of gaps and sum of squares around the level under random histories, of each
        #: item and of all.
        self.register_buffer("gap", torch.zeros(n_items, 3, dtype=torch.float64))
        self.register_buffer("overall", torch.zeros(3, dtype=torch.float64))
        #: Clicks on each item in the tail, and those that were compared.
        self.register_buffer("tail", torch.zeros(n_items, 2, dtype=torch.float64))
        self.batch = 0
        self._scores: Tensor | None = None

    def start(self) -> None:
        """Begin an epoch, whose first batch changes histories."""
        self.batch = 0
        self.tail.zero_()

    @torch.no_grad()
    def watch(
        self, evidence: Evidence, generator: torch.Generator | None, learn: bool = True
    ) -> None:
        """Look at a batch before it is weighed.

        Args:
            evidence: The batch.
            generator: Draws the histories.
            learn: Whether it is a training batch, which is taken in.
        """
        score, self._scores = target_scores(evidence), None
        if score is None:
            return
        size, device = len(score), score.device
        if evidence.all_items is not None:
            row = torch.randint(size, (min(_COMPARED, size),), device=device, generator=generator)
            self._scores = evidence.all_items(row)
        if not learn:
            return
        click = clicked(evidence)
        if self._scores is not None:
            self._rank(evidence.item[click], score[click], generator)
            return
        self.follow(evidence.item[click], score[click])
        if evidence.swapped is not None and self.batch % _EVERY == 0:
            row = torch.randperm(size, device=device, generator=generator)
            chosen = click & (evidence.user[row] != evidence.user)
            if bool(chosen.any()):
                other = evidence.swapped(row)
                self.compare(evidence.item[chosen], score[chosen], other[chosen])
        self.batch += 1

    def _rank(self, item: Tensor, score: Tensor, generator: torch.Generator | None) -> None:
        """Count the targets that rank low among their scores under random histories."""
        assert self._scores is not None
        other = self._scores[:, item]
        chance = torch.rand(len(item), device=item.device, generator=generator)
        below, equal = compared(other, score)
        rank = (below.sum(0) + chance * (1 + equal.sum(0))) / (1 + len(other))
        self.count(item, rank < TAIL)

    def count(self, item: Tensor, low: Tensor) -> None:
        """Count compared clicks ``[m]``, and whether (or how far) each is in the tail."""
        both = torch.stack((low.double(), torch.ones_like(low, dtype=torch.float64)), dim=1)
        self.tail.index_add_(0, item, both)

    def follow(self, item: Tensor, score: Tensor) -> None:
        """Take in scores of clicks, ``[m]`` each."""
        _note(self.level, item, torch.ones_like(score), score)

    def compare(self, item: Tensor, score: Tensor, swapped: Tensor) -> None:
        """Take in scores of the same clicks under their own and under random histories, ``[m]``.

        The tail is where the lowest tenth of the random histories lie. Both are measured from
        the same level at the same time, so that what is independent of its history is there as
        often, however far the level lags behind.
        """
        own, other = (self.standard(item, each) for each in (score, swapped))
        edge = torch.quantile(other, TAIL)
        self.count(item, (own < edge) + TAIL * (own == edge))
        square = (swapped - self.mean(item)) ** 2
        drawn = torch.ones_like(score), score - swapped, square
        _note(self.gap, item, *drawn)
        self.overall.mul_(_KEPT_OF_ALL).add_(torch.stack(drawn, dim=1).double().mean(0))

    def _gaps(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean gap and variance of items, leaning on those of all, ``[m]`` each."""
        overall = self.overall / self.overall[0].clamp_min(1e-12)
        weight, gap, square = (self.gap[item] + _PRIOR_DRAWS * overall).unbind(1)
        weight = weight.clamp_min(1e-12)
        return gap / weight, (square / weight).clamp_min(1e-8)

    def mean(self, item: Tensor) -> Tensor:
        """Return the mean score of items under random histories, ``[m]``."""
        weight, total = self.level[item].unbind(1)
        return (total / weight.clamp_min(1e-12) - self._gaps(item)[0]).float()

    def standard(self, item: Tensor, score: Tensor) -> Tensor:
        """Return scores from their mean under random histories, in deviations, ``[m]``."""
        return (score - self.mean(item)) / self._gaps(item)[1].sqrt().float()

    def lift(self, item: Tensor, score: Tensor) -> Tensor:
        r"""Return :math:`\log p(y|s) - \log E_{s'} p(y|s')`, ``[m]``.

        The logarithm of a likelihood is the score up to a constant of the history. Where single
        items are scored, their scores under random histories are taken for normal.

        Args:
            item: Items, ``[m]``.
            score: Their scores under a history, ``[m]``.
        """
        if self._scores is not None:
            other = self._scores[:, item]
            return score - (torch.logsumexp(other, 0) - math.log(len(other)))
        return score - self.mean(item) - 0.5 * self._gaps(item)[1].float()


def compared(other: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which scores are below others, and which are the same but for their rounding.

    A target that meets its own history among the random ones, or one alike, has the same score
    there, which another pass rounds otherwise.

    Args:
        other: Scores under random histories, ``[K, m]``.
        own: Scores under the targets' own, ``[m]``.

    Returns:
        Whether ``other`` is below ``own``, and whether both are the same, ``[K, m]`` each.
    """
    apart, slack = other - own, _ROUNDING * (1.0 + own.abs())
    return apart < -slack, apart.abs() <= slack


def _note(sums: Tensor, item: Tensor, *values: Tensor) -> None:
    """Let running sums of items forget by draws, and take in values ``[m]``, in place."""
    if not len(item):
        return
    ids, place, count = item.unique(return_inverse=True, return_counts=True)
    drawn = torch.stack(values, dim=1).double()
    mean = drawn.new_zeros(len(ids), len(values)).index_add_(0, place, drawn) / count.unsqueeze(1)
    left = torch.pow(_KEPT, count.double()).unsqueeze(1)
    # Among themselves, a batch's draws of an item count alike.
    sums[ids] = sums[ids] * left + mean * ((1 - left) / (1 - _KEPT))
