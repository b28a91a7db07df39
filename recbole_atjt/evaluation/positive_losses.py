"""Losses of single positives in an evaluation, and the largest of them."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

import torch
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.errors import UsageError
from recbole_atjt.host.traits import gives_probabilities, traits_of
from recbole_atjt.seam.criterion import find_criterion
from recbole_atjt.seam.scores import is_softmax

#: Scores that are copied at a time.
_PART = 2**20


class Head(Enum):
    """What a model's scores are, which decides a positive's loss."""

    SOFTMAX = "logits that a softmax over items trains (CE)"
    SIGMOID = "logits of another head (BCE, BPR)"
    PROBABILITY = "probabilities"


def find_head(model: nn.Module, full_ranking: bool) -> Head:
    """Tell what a model's scores are.

    Args:
        model: A RecBole model, a subclass of one, or a wrapper that holds one as ``recommender``.
        full_ranking: Whether ``full_sort_predict`` gave the scores, not ``predict``.
    """
    bare: Any = getattr(model, "recommender", model)
    traits = traits_of(bare)
    if gives_probabilities(bare) and not (full_ranking and traits.ranks_by_logits):
        return Head.PROBABILITY
    if traits.softmax_over_items:
        return Head.SOFTMAX
    if traits.classifies_labels or getattr(bare, "input_type", None) == InputType.POINTWISE:
        return Head.SIGMOID
    try:
        criterion = getattr(bare, getattr(bare, "main_criterion", None) or find_criterion(bare))
    except UsageError:  # BERT4Rec builds its criterion inside calculate_loss
        return Head.SOFTMAX if getattr(bare, "loss_type", None) == "CE" else Head.SIGMOID
    return Head.SOFTMAX if is_softmax(criterion) else Head.SIGMOID


def pointwise_losses(head: Head, scores: Tensor) -> Tensor:
    r"""Return the losses of positives by themselves: :math:`-\log\sigma(s)`, or :math:`-\log p`.

    Args:
        head: What the scores are; logits s, or probabilities p.
        scores: The positives' scores, ``[P]``.
    """
    scores = scores.double()  # in single precision the losses of all scores above 104 are 0
    return -scores.log() if head is Head.PROBABILITY else functional.softplus(-scores)


def query_losses(head: Head, scores: Tensor, positive_u: Tensor, positive_i: Tensor) -> Tensor:
    r"""Return the losses of positives among their queries' candidates.

    With a softmax head :math:`\log \sum_j e^{s_j} - s`, where j runs over the query's candidates,
    else :func:`pointwise_losses`.

    Args:
        head: What the scores are.
        scores: Scores of each query's items, ``[Q, n_items]``; minus infinity for no candidates.
        positive_u: Query of each positive, ``[P]``.
        positive_i: Item of each positive, ``[P]``.
    """
    positive = scores[positive_u, positive_i]
    if head is Head.SOFTMAX:
        parts = scores.split(max(_PART // scores.shape[1], 1))
        return torch.cat([part.logsumexp(dim=1) for part in parts])[positive_u] - positive
    return pointwise_losses(head, positive)


def largest(losses: Tensor, share: float) -> Tensor:
    """Mark the ``floor(share * n)`` largest of n losses; of equal ones the first.

    Args:
        losses: ``[n]``, no NaN.
        share: In (0, 1).

    Returns:
        Whether each loss is among them, ``[n]``.
    """
    count = int(Decimal(str(share)) * len(losses))  # exact: 0.29 * 100 is below 29 in binary
    marked = torch.zeros(len(losses), dtype=torch.bool)
    marked[losses.argsort(descending=True, stable=True)[:count]] = True
    return marked
