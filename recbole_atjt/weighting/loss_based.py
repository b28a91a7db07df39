"""Weights from the loss alone: ADT's truncated and reweighted losses (Wang et al., WSDM 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_atjt.settings.declared import DeclaredSettings, key
from recbole_atjt.weighting.base import Evidence, Weighting


@dataclass(frozen=True)
class TruncatedLossSettings(DeclaredSettings):
    """How much T_CE drops, and when."""

    t_ce_drop_rate: float = key(
        0.2, "Share of a batch that is dropped at most, in [0, 1).", within="[0, 1)"
    )
    t_ce_num_gradual: int = key(
        30000, "Training steps over which the dropped share grows to its most.", within="[1, inf)"
    )
    t_ce_exponent: float = key(
        1.0, "The share grows to drop_rate ** exponent; above 0.", within="(0, inf)"
    )


@dataclass(frozen=True)
class ReweightedLossSettings(DeclaredSettings):
    """How strongly R_CE weighs."""

    r_ce_beta: float = key(
        0.2,
        "Exponent beta of the probability of the observed label; 0 is plain training.",
        within="[0, inf)",
    )


class TruncatedLoss(Weighting):
    r"""T-CE (ADT): the positives of a batch's largest losses are dropped, more and more of them.

    Of B rows, :math:`\lfloor (1 - \epsilon(t)) B \rfloor` are kept and the loss is the mean over
    them, so a kept row weighs B / kept. The share that is dropped grows with the training step t:

    .. math:: \epsilon(t) = \min(t / T, 1) \, \epsilon_{max}^{\gamma}

    with ``t_ce_drop_rate`` :math:`\epsilon_{max}`, ``t_ce_exponent`` :math:`\gamma` and
    ``t_ce_num_gradual`` T. Sampled negatives are never dropped, not even with their positive, and
    at least one row is kept. Under CE and BPR every row is a positive.
    """

    settings_class = TruncatedLossSettings
    per_sample = False

    settings: TruncatedLossSettings
    step: Tensor

    def __init__(self, settings: TruncatedLossSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def drop_rate(self) -> float:
        """Share of the rows that the next training step drops."""
        settings = self.settings
        grown = min(int(self.step) / settings.t_ce_num_gradual, 1.0)
        return float(grown * settings.t_ce_drop_rate**settings.t_ce_exponent)

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return 0 for dropped rows and B / kept for the others, ``[B]``; count the step."""
        weights = truncated(evidence.loss.detach(), evidence.label, self.drop_rate)
        if self.training and torch.is_grad_enabled():
            self.step += 1
        return weights


def truncated(loss: Tensor, label: Tensor | None, drop_rate: float) -> Tensor:
    """Return the weights that drop the positives of the largest loss, ``[B]``.

    Args:
        loss: Per-sample losses, ``[B]``.
        label: ``[B]``, 1 or 0; None where every row is a positive.
        drop_rate: Share of the B rows to drop, in [0, 1); rounded up.
    """
    rows = len(loss)
    dropped = min(rows - int((1 - drop_rate) * rows), rows - 1)
    weights = torch.ones(rows, device=loss.device)
    if label is not None:
        loss = loss.masked_fill(label <= 0, -torch.inf)
    weights[loss.topk(dropped).indices] = 0.0
    if label is not None:
        weights = weights.masked_fill(label <= 0, 1.0)
    return weights * (rows / weights.sum())


class ReweightedLoss(Weighting):
    r"""R-CE (ADT): the probability of the observed label to the power beta.

    .. math:: w_i = p_i^{\beta}, \quad p_i = e^{-l_i}

    :math:`p_i` is the probability that the model gives to the observed label: :math:`\sigma(s)` of
    a clicked and :math:`1 - \sigma(s)` of a sampled item under BCE, the target's softmax under CE,
    that of the right order under BPR. It takes no gradient, and the mean over the batch is not
    divided by the sum of the weights. The exponent is ``r_ce_beta``.
    """

    settings_class = ReweightedLossSettings

    settings: ReweightedLossSettings

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the weight of each row, ``[B]``."""
        return torch.exp(-self.settings.r_ce_beta * evidence.loss.detach())
