"""Weights from the training frequency of the target item."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_atjt.weighting.base import Evidence, Weighting


class InverseFrequency(Weighting):
    r"""Inverse training frequency of the target item: rare items count more, the mean is 1.

    .. math:: w_i = \frac{|D|}{|V| \, f_{v_i}}

    with the training frequency :math:`f_v` of item :math:`v`, the number :math:`|V|` of items that
    are a target at all, and :math:`|D|` training sequences, over which the mean weight is 1: every
    item then has the same total weight.
    """

    table: Tensor

    def __init__(self, settings: Any, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.register_buffer("table", inverse_frequency(item_frequency), persistent=False)

    def weigh(self, evidence: Evidence) -> Tensor:
        """Look up the weight of each target item, ``[S]``."""
        return self.table[evidence.item]


def inverse_frequency(frequency: Tensor) -> Tensor:
    """Return the weight of each item, ``[n_items]``; 0 for items that are no target.

    Args:
        frequency: Number of training sequences of each target item, ``[n_items]``.
    """
    counts = frequency.double()
    targets = counts > 0
    weights = counts.sum() / (targets.sum() * counts)
    return torch.where(targets, weights, 0.0).float()
