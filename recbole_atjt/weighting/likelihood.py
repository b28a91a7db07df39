"""What the recommender says of targets, whatever head it is trained with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor

from recbole_atjt.weighting.base import Evidence

#: Logits are kept inside plus and minus this: beyond it a loss in single precision says no more.
_LARGEST = 30.0


_Answer = TypeVar("_Answer")


def _once(ask: Callable[[Evidence], _Answer]) -> Callable[[Evidence], _Answer]:
    """Let a question to a batch be answered from memory when it is asked again."""
    name = f"_{ask.__name__}"

    @wraps(ask)
    def answer(evidence: Evidence) -> _Answer:
        kept = vars(evidence)
        if name not in kept:
            kept[name] = ask(evidence)
        found: _Answer = kept[name]
        return found

    return answer


@_once
def clicked(evidence: Evidence) -> Tensor:
    """Return which sequences are clicks, not labelled as none nor left out, ``[S]``."""
    if evidence.label is None:
        click = torch.ones(len(evidence.item), dtype=torch.bool, device=evidence.item.device)
    else:
        click = evidence.label[: len(evidence.item)] > 0
    return click if evidence.left_out is None else click & ~evidence.left_out


@_once
def target_scores(evidence: Evidence) -> Tensor | None:
    """Return the logits of the targets where single items are scored, without a graph, ``[S]``.

    None for a softmax over all items, whose loss is the likelihood, and for a loss that shows
    no scores.
    """
    sequences = len(evidence.item)
    if evidence.logits is not None:
        return None
    if evidence.label is not None:
        return _logits(evidence.loss[:sequences], evidence.label[:sequences])
    return None if evidence.pair is None else evidence.pair[0].float()[:sequences]


def negative_scores(evidence: Evidence) -> tuple[Tensor, Tensor] | None:
    """Return sampled negative items and their logits, ``[m]`` each; None without any."""
    if evidence.negative is None:
        return None
    if evidence.label is not None:
        sequences = len(evidence.item)
        return evidence.negative, _logits(evidence.loss[sequences:], evidence.label[sequences:])
    return None if evidence.pair is None else (evidence.negative, evidence.pair[1].float())


def log_odds(loss: Tensor) -> Tensor:
    r"""Return the difference of two scores from their loss :math:`-\log\sigma`, ``[S]``."""
    return -torch.log(torch.expm1(loss.detach().float().clamp(1e-6, _LARGEST)))


def _logits(loss: Tensor, label: Tensor) -> Tensor:
    """Return the logits of all rows from BCE losses and labels, ``[B]``."""
    odds = log_odds(loss)
    return torch.where(label > 0, odds, -odds)
