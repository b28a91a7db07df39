"""The recommender's own likelihood of a target, whatever head it is trained with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_atjt.weighting.base import Evidence

#: Logits are kept inside plus and minus this: beyond it a loss in single precision says no more.
_LARGEST = 30.0


def log_likelihood(evidence: Evidence, n_items: int) -> Tensor:
    r"""Return :math:`\log p(y | s)` of each sequence's target, without a graph, ``[S]``.

    * A softmax over items: :math:`-l`.
    * Labelled rows with sampled negatives (BCE): the logit estimates :math:`\log p(y|s) / (k u(y))`
      with the distribution u of the k negatives, here uniform over the n items; the mean of
      :math:`e^s` over negatives takes the place of the constant, so that a head which is not yet
      calibrated is read relative to what it gives random items.
    * Pairs (BPR): the same, where the scores of positives and negatives are known. Where only the
      loss is, :math:`p = \frac{1}{n} \frac{e^{-l}}{1 - e^{-l}}`.

    Args:
        evidence: A batch.
        n_items: Number of items, the padding included.
    """
    sequences = len(evidence.item)
    loss = evidence.loss.detach().float()
    uniform = -math.log(max(1, n_items - 1))
    if evidence.label is not None:
        score, negative = _labelled(loss, evidence.label)
        return score[:sequences] - _log_mean_exp(negative) + uniform
    if evidence.pair is not None:
        positive, negative = (scores.float() for scores in evidence.pair)
        return positive[:sequences] - _log_mean_exp(negative) + uniform
    if evidence.negative is not None:
        odds = -torch.log(torch.expm1(loss.clamp(1e-6, _LARGEST)))
        return odds[:sequences] + uniform
    return -loss[:sequences]


def negative_scores(evidence: Evidence, n_items: int) -> tuple[Tensor, Tensor] | None:
    """Return sampled negative items and their log-likelihoods, ``[m]`` each; None without any."""
    if evidence.negative is None:
        return None
    uniform = -math.log(max(1, n_items - 1))
    if evidence.label is not None:
        score, negative = _labelled(evidence.loss.detach().float(), evidence.label)
        own = score[len(evidence.item) :]
        return evidence.negative, own - _log_mean_exp(negative) + uniform
    if evidence.pair is not None:
        negative = evidence.pair[1].float()
        return evidence.negative, negative - _log_mean_exp(negative) + uniform
    return None


def _labelled(loss: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of all rows, and those of the negatives, from BCE losses and labels."""
    size = torch.log(torch.expm1(loss.clamp(1e-6, _LARGEST)))
    score = torch.where(label > 0, -size, size)
    return score, score[label <= 0]


def _log_mean_exp(scores: Tensor) -> Tensor:
    """Return the logarithm of the mean of ``exp(scores [m])``; 0 where there are none."""
    if not len(scores):
        return scores.new_zeros(())
    return torch.logsumexp(scores, 0) - math.log(len(scores))
