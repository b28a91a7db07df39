"""The scores that a criterion was given, beside the losses that it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole.model.loss import BPRLoss
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Scores:
    """What a criterion compared, without a graph.

    Args:
        logits: Scores of all classes, up to a constant of each row, ``[rows, n]``; None unless the
            criterion is a softmax.
        positive: Score of each row's positive, ``[rows]``; None unless it compares pairs.
        negative: Score of each row's sampled negative, ``[rows]``; None as well.
    """

    logits: Tensor | None = None
    positive: Tensor | None = None
    negative: Tensor | None = None


def is_softmax(criterion: Any) -> bool:
    """Tell whether a criterion is torch's loss of a softmax, as a module or as a function."""
    if isinstance(criterion, (nn.CrossEntropyLoss, nn.NLLLoss)):
        return True
    return criterion in (functional.cross_entropy, functional.nll_loss)


def scores_of(criterion: Any, rows: int, args: tuple[Any, ...]) -> Scores:
    """Return the scores among a criterion's arguments; an empty result where there are none.

    Args:
        criterion: A loss of torch or RecBole.
        rows: Number of rows of the batch.
        args: What the model called it with.
    """
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    if len(tensors) < 2:
        return Scores()
    first, second = tensors[0].detach(), tensors[1].detach()
    if (
        is_softmax(criterion)
        and first.dim() == 2
        and len(first) == rows
        and not second.is_floating_point()
    ):
        return Scores(logits=first)
    if isinstance(criterion, BPRLoss) and first.numel() == rows == second.numel():
        return Scores(positive=first.flatten(), negative=second.flatten())
    return Scores()
