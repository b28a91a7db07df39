"""What items score under random histories, for heads that do not score all items at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import clicked, target_scores
from recbole_atjt.weighting.tail import TAIL

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
    _drawn: Tensor

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
        #: Draws of each item in the batch at hand; zeros between batches, so not kept.
        self.register_buffer("_drawn", torch.zeros(n_items, dtype=torch.float64), persistent=False)
        #: Scores of all items under random histories, ``[K, n_items]``, as long as they count.
        self.scores: Tensor | None = None
        self._targets: tuple[Tensor, Tensor]  # the batch's, and their columns of these scores

    def start(self) -> None:
        """Begin an epoch, whose first batch changes histories."""
        self.scores = None
        self.tail.zero_()

    @torch.no_grad()
    def watch(
        self,
        evidence: Evidence,
        generator: torch.Generator | None,
        looks: bool = True,
        renews: bool = True,
        swaps: bool = True,
    ) -> None:
        """Look at a batch before it is weighed.

        Args:
            evidence: The batch.
            generator: Draws the histories.
            looks: Whether it is a training batch that is learned from.
            renews: Whether scores of all items under earlier histories count no longer.
            swaps: Whether targets change histories where all items are not scored at once.
        """
        score = target_scores(evidence)
        if score is None:
            return
        size, device = len(score), score.device
        if evidence.all_items is not None:
            if looks or renews or self.scores is None:
                row = torch.randint(
                    size, (min(_COMPARED, size),), device=device, generator=generator
                )
                self.scores = evidence.all_items(row)
            self._targets = evidence.item, self.scores.index_select(1, evidence.item)
        if not looks:
            return
        click = clicked(evidence)
        if self.scores is not None:
            self._rank(evidence.item, score, click, generator)
            return
        self.follow(evidence.item, score, click)
        if evidence.swapped is not None and swaps:
            row = torch.randperm(size, device=device, generator=generator)
            chosen = click & (evidence.user[row] != evidence.user)
            if bool(chosen.any()):
                other = evidence.swapped(row)
                self.compare(evidence.item[chosen], score[chosen], other[chosen])

    def _rank(
        self, item: Tensor, score: Tensor, click: Tensor, generator: torch.Generator | None
    ) -> None:
        """Count the clicks that rank low among their scores under random histories."""
        other = self._under_random(item)
        chance = torch.rand(len(item), device=item.device, generator=generator)
        below, equal = compared(other, score)
        rank = (below.sum(0) + chance * (1 + equal.sum(0))) / (1 + len(other))
        counted = click.double()
        self.count(item, (rank < TAIL) * counted, counted)

    def _under_random(self, item: Tensor) -> Tensor:
        """Return scores of items under the random histories of the batch, ``[K, m]``."""
        assert self.scores is not None
        known, other = self._targets
        return other if known is item else self.scores.index_select(1, item)

    def count(self, item: Tensor, low: Tensor, weight: Tensor | None = None) -> None:
        """Count compared clicks ``[m]``, and whether (or how far) each is in the tail.

        Args:
            item: Their items, ``[m]``.
            low: Whether each is in the tail, ``[m]``.
            weight: How much each counts, ``low`` included; all are 1 where None, ``[m]``.
        """
        counted = torch.ones_like(low, dtype=torch.float64) if weight is None else weight
        self.tail.index_add_(0, item, torch.stack((low.double(), counted), dim=1))

    def follow(self, item: Tensor, score: Tensor, click: Tensor) -> None:
        """Take in scores of targets, ``[m]`` each, as far as they are clicks."""
        self._note(self.level, item, click, torch.ones_like(score), score)

    def compare(self, item: Tensor, score: Tensor, swapped: Tensor) -> None:
        """Take in scores of the same clicks under their own and under random histories, ``[m]``.

        The tail is where the lowest tenth of the random histories lie. Both are measured from
        the same level at the same time, so that what is independent of its history is there as
        often, however far the level lags behind.
        """
        usual = self._usual(item)
        own, other = ((each - usual[0]) / usual[1].sqrt() for each in (score, swapped))
        edge = torch.quantile(other, TAIL)
        self.count(item, (own < edge) + TAIL * (own == edge))
        square = (swapped - usual[0]) ** 2
        drawn = torch.ones_like(score), score - swapped, square
        self._note(self.gap, item, torch.ones_like(item), *drawn)
        self.overall.mul_(_KEPT_OF_ALL).add_(torch.stack(drawn, dim=1).double().mean(0))

    def _note(self, sums: Tensor, item: Tensor, chosen: Tensor, *values: Tensor) -> None:
        """Let running sums of items forget by draws, and take in chosen values ``[m]``, in place.

        Among themselves, a batch's draws of an item count alike.
        """
        counted = chosen.double()
        count = self._drawn.index_add_(0, item, counted).index_select(0, item)
        self._drawn.index_fill_(0, item, 0.0)
        left = torch.pow(_KEPT, count)
        each = (counted * (1 - left) / (count * (1 - _KEPT)).clamp_min(1e-12)).unsqueeze(1)
        kept = sums.index_select(0, item).mul_(left.unsqueeze(1))
        sums.index_copy_(0, item, kept)  # rows of one item hold the same
        sums.index_add_(0, item, torch.stack(values, dim=1).double().mul_(each))

    def _gaps(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean gap and variance of items, leaning on those of all, ``[m]`` each."""
        overall = self.overall / self.overall[0].clamp_min(1e-12)
        weight, gap, square = (self.gap.index_select(0, item) + _PRIOR_DRAWS * overall).unbind(1)
        weight = weight.clamp_min(1e-12)
        return gap / weight, (square / weight).clamp_min(1e-8)

    def _usual(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of items' scores under random histories, ``[m]`` each."""
        weight, total = self.level.index_select(0, item).unbind(1)
        gap, variance = self._gaps(item)
        return (total / weight.clamp_min(1e-12) - gap).float(), variance.float()

    def mean(self, item: Tensor) -> Tensor:
        """Return the mean score of items under random histories, ``[m]``."""
        return self._usual(item)[0]

    def lift(self, item: Tensor, score: Tensor) -> Tensor:
        r"""Return :math:`\log p(y|s) - \log E_{s'} p(y|s')`, ``[m]``.

        The logarithm of a likelihood is the score up to a constant of the history. Where single
        items are scored, their scores under random histories are taken for normal.

        Args:
            item: Items, ``[m]``.
            score: Their scores under a history, ``[m]``.
        """
        if self.scores is not None:
            other = self._under_random(item)
            return score - (torch.logsumexp(other, 0) - math.log(len(other)))
        mean, variance = self._usual(item)
        return score - mean - 0.5 * variance


def compared(other: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which scores are below others, and which are the same but for their rounding.

    A target that meets its own history among the random ones, or one alike, has the same score
    there, which another pass rounds otherwise.

    Args:
        other: Scores under random histories, ``[K, m]``.
        own: Scores under the targets' own, ``[m]``.

    Returns:
        Whether ``other`` is below ``own``, and whether both are the same, ``[K, m]`` each: 1 or 0
        as floats, which are compared and counted at three times the speed of booleans.
    """
    apart, slack = other - own, _ROUNDING * (1.0 + own.abs())
    return torch.lt(apart, -slack, out=torch.empty_like(apart)), apart.abs_().le_(slack)
