"""A recogniser that reads the recommender's likelihood, beside history and target or alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.weighting.recognizer import DenseLayer, NoiseRecognizer


class LikelihoodRecognizer(nn.Module):
    r"""Tell original targets from drawn ones by what the recommender itself says of them.

    .. math:: c(s, y) = a \, (\log p(y|s) - \log q(y)) + b + o(s, y)

    is how much likelier a clean click on y is than noise there. With a = 1 and b = 0 that is the
    recommender's own word; the recogniser learns how far it is off. It starts from there; o, where
    there is one, starts from 0.

    Args:
        own: A recogniser with embeddings of its own that gives o; None for none.
    """

    def __init__(self, own: NoiseRecognizer | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))
        self.own = own
        if own is not None:
            last = own.output[-1]
            assert isinstance(last, DenseLayer)
            nn.init.zeros_(last.linear.weight)
            nn.init.zeros_(last.linear.bias)

    def forward(self, lift: Tensor, history: Tensor | None, target: Tensor) -> Tensor:
        r"""Return c, the log-ratio of clean clicks and noise, ``[S]``.

        Args:
            lift: :math:`\log p(y|s) - \log q(y)`, without a graph, ``[S]``.
            history: Item ids, 0 where padded, ``[S, L]``; None where there is none.
            target: Item ids, ``[S]``.
        """
        ratio = self.scale * lift + self.offset
        if self.own is not None and history is not None:
            ratio = ratio + self.own(history, target)
        return ratio


def weighted_recognition_loss(logit: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return ``L^D`` (Eq. 2): binary cross-entropy, each class weighing half, a scalar.

    Args:
        logit: ``[D]``.
        label: 1 for an original target, 0 for a drawn one, ``[D]``.
        weight: Importance of each, ``[D]``.
    """
    losses = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    original, drawn = label * weight, (1.0 - label) * weight
    parts = [(losses * part).sum() / part.sum().clamp_min(1e-12) for part in (original, drawn)]
    return 0.5 * (parts[0] + parts[1])
