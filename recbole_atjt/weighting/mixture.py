r"""The noise channel: observed clicks as a mixture of clean ones and of noise without a history.

.. math:: p_o(y | s) = (1 - e) \, p(y | s) + e \, q(y)

e is the share of noise, q its distribution over items, p the recommender's likelihood. Both e and q
are found by EM from the posteriors of an epoch; e is capped by a test of independence that no
miscalibration of p can fool.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import negative_scores

#: Random histories that a target is compared with.
COMPARED = 128
#: A target is in the tail where at most this share of random histories makes it less likely.
TAIL = 0.1
#: Clean targets in the tail, as a part of what noise has there; seen on data without noise.
CLEAN_IN_TAIL = 0.05
#: Weight of an item's own moments against those of all items, in draws.
_PRIOR_DRAWS = 20.0
_DECAY = 0.5
_SEED = 20260


class NoiseMixture(nn.Module):
    r"""Share and distribution of noise, learned from posteriors.

    Args:
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.
        share: e at the start.
        learn: Whether e and q are learned.
        cap: Largest e.
        smoothing: Weight a of the unigram distribution in q, relative to the posteriors' mass.
    """

    unigram: Tensor
    noise: Tensor
    share: Tensor
    mass: Tensor
    sums: Tensor
    moments: Tensor

    def __init__(
        self, item_frequency: Tensor, share: float, learn: bool, cap: float, smoothing: float
    ) -> None:
        super().__init__()
        self.learn, self.cap, self.smoothing = learn, cap, smoothing
        frequency = item_frequency.double() + 0.5
        frequency[0] = 0.0
        unigram = (frequency / frequency.sum()).float()
        self.register_buffer("unigram", unigram)
        self.register_buffer("noise", unigram.clone())
        self.register_buffer("share", torch.tensor(float(share), dtype=torch.float64))
        self.register_buffer("mass", torch.zeros(len(unigram), dtype=torch.float64))
        #: Count of targets, sum of noise posteriors, count in the tail, count that was compared.
        self.register_buffer("sums", torch.zeros(4, dtype=torch.float64))
        #: Count, sum and sum of squares of each item's log-likelihood under random histories.
        self.register_buffer("moments", torch.zeros(3, len(unigram), dtype=torch.float64))
        self._generator: torch.Generator | None = None

    def start(self, epoch: int) -> None:
        """Seed the draws of an epoch, which leave the training's own random numbers alone."""
        device = self.noise.device
        self._generator = torch.Generator(device=device).manual_seed(_SEED + epoch)

    def draw(self, distribution: Tensor, count: int) -> Tensor:
        """Draw items from a distribution ``[n_items]``, with replacement, ``[count]``."""
        return torch.multinomial(distribution, count, replacement=True, generator=self._generator)

    def log_lift(self, item: Tensor, log_p: Tensor) -> Tensor:
        r"""Return :math:`\log p(y | s) - \log q(y)`, of the shape of ``item`` and ``log_p``."""
        return log_p - torch.log(self.noise[item].clamp_min(1e-30))

    def clean_posterior(self, item: Tensor, log_p: Tensor) -> Tensor:
        r"""Return :math:`P(clean | s, y) = (1-e) p / ((1-e) p + e q)`; 1 where e is 0.

        Args:
            item: Targets, ``[S]``.
            log_p: Their log-likelihoods, ``[S]``.
        """
        return self.posterior(self.log_lift(item, log_p))

    def posterior(self, ratio: Tensor) -> Tensor:
        """Return the same from the log-ratios of clean clicks and noise, ``[S]``."""
        share = self.share.to(ratio)
        return torch.sigmoid(torch.log1p(-share) - torch.log(share) + ratio)

    @torch.no_grad()
    def observe(self, evidence: Evidence, log_p: Tensor, clean: Tensor) -> None:
        """Gather what a training batch says of the noise.

        Args:
            evidence: The batch.
            log_p: Log-likelihoods of its targets, ``[S]``.
            clean: Posteriors of being clean, ``[S]``.
        """
        item, counted = evidence.item, torch.ones_like(clean, dtype=torch.bool)
        if evidence.label is not None:
            counted = evidence.label[: len(item)] > 0
        noisy = (1.0 - clean.double()) * counted
        self.mass.index_add_(0, item, noisy)
        tail, compared = self._tail(evidence, log_p, counted)
        self.sums += torch.stack((counted.sum().double(), noisy.sum(), tail, compared))

    def _tail(self, evidence: Evidence, log_p: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Count the targets that are no likelier under their history than under random ones."""
        if evidence.logits is not None:
            value = self._rank(evidence, log_p)
        else:
            drawn = negative_scores(evidence, len(self.unigram))
            if drawn is None:
                nothing = log_p.new_zeros((), dtype=torch.float64)
                return nothing, nothing
            self._note_random(*drawn)
            value = self._level(evidence.item, log_p)
        found = ((value < TAIL) & counted).sum().double()
        return found, counted.sum().double()

    def _rank(self, evidence: Evidence, log_p: Tensor) -> Tensor:
        """Return the share of random histories of the batch under which a target is less likely.

        Where target and history are independent it is uniform over [0, 1], whatever p is.
        """
        logits, item = evidence.logits, evidence.item
        assert logits is not None
        own = logits.gather(1, item.unsqueeze(1)).squeeze(1).float()
        normaliser = own - log_p  # log of the softmax's denominator of each row
        size = (min(COMPARED, len(item)),)
        row = torch.randint(len(item), size, device=item.device, generator=self._generator)
        other = logits[row.unsqueeze(1), item.unsqueeze(0)].float() - normaliser[row].unsqueeze(1)
        chance = torch.rand(len(item), device=item.device, generator=self._generator)
        below = (other < log_p).float().mean(0)
        return below + chance * (other == log_p).float().mean(0)  # ties at random: still uniform

    def _note_random(self, item: Tensor, log_p: Tensor) -> None:
        """Take in log-likelihoods of random items, ``[m]`` each."""
        value = log_p.double()
        self.moments[0].index_add_(0, item, torch.ones_like(value))
        self.moments[1].index_add_(0, item, value)
        self.moments[2].index_add_(0, item, value * value)

    def _level(self, item: Tensor, log_p: Tensor) -> Tensor:
        """Return where a log-likelihood lies among the item's own under random histories.

        They are taken for normal, with moments that lean on those of all items where an item was
        drawn seldom.
        """
        count, total, squares = self.moments
        draws = count.sum().clamp_min(1.0)
        mean_of_all = total.sum() / draws
        square_of_all = squares.sum() / draws
        weight = count + _PRIOR_DRAWS
        mean = (total + _PRIOR_DRAWS * mean_of_all) / weight
        variance = (squares + _PRIOR_DRAWS * square_of_all) / weight - mean * mean
        deviation = variance.clamp_min(1e-8).sqrt()
        level = (log_p.double() - mean[item]) / deviation[item]
        return 0.5 * (1.0 + torch.erf(level / math.sqrt(2.0))).float()

    @torch.no_grad()
    def update(self, from_posteriors: bool = True) -> None:
        """Learn e and q from what was gathered since the last update.

        Args:
            from_posteriors: Whether e is at most the mean posterior of being noise, as EM has it.
                Where the posterior takes e as given, that mean tells nothing but e again.
        """
        targets, noisy, tail, compared = self.sums.clone()
        if self.learn and float(targets) > 0:
            share = noisy / targets
            if float(compared) > 0:
                independent = tail / compared / TAIL
                bound = (independent - CLEAN_IN_TAIL) / (1 - CLEAN_IN_TAIL)
                share = torch.minimum(share, bound) if from_posteriors else bound
            found = self.mass + self.smoothing * self.mass.sum() * self.unigram
            if float(found.sum()) > 0:
                self.noise.copy_(found / found.sum())
            self.share.copy_(share.clamp(0.0, self.cap))
        self.mass.zero_()
        self.sums.zero_()
        self.moments.mul_(_DECAY)

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items that q gives most, with their probability under it."""
        top = self.noise.topk(min(count, len(self.noise)))
        return list(zip(top.indices.tolist(), top.values.tolist()))
