"""What a strategy says of an epoch; sums stay on the device until somebody reads them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


class RunningMoments:
    """Count, mean and variance of values, gathered without keeping them or waiting for them."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def add(self, values: Tensor, chosen: Tensor | None = None) -> None:
        """Take in values.

        Args:
            values: Of any shape.
            chosen: Which of them count, of the same shape; None for all.
        """
        values = values.detach().double()
        counted = torch.ones_like(values) if chosen is None else chosen.double()
        values = values * counted
        sums = torch.stack((counted.sum(), values.sum(), (values * values).sum()))
        self._sums = sums if self._sums is None else self._sums + sums

    def _read(self) -> tuple[float, float, float]:
        if self._sums is None:
            return 0.0, 0.0, 0.0
        count, total, squares = self._sums.tolist()
        return count, total, squares

    @property
    def count(self) -> int:
        """How many values there were."""
        return int(self._read()[0])

    @property
    def mean(self) -> float:
        """Mean of all values; NaN where there are none."""
        count, total, _ = self._read()
        return total / count if count else float("nan")

    @property
    def variance(self) -> float:
        """Variance of all values; NaN where there are none."""
        count, total, squares = self._read()
        return max(0.0, squares / count - (total / count) ** 2) if count else float("nan")


@dataclass
class EpochReport:
    """What a strategy has to say about an epoch; the strategy alone writes it.

    Args:
        weights: Weights before a strategy normalises them; the applied ones where it adds none.
        true_positive: Applied weights of sequences whose target is known to be no noise.
        false_positive: Applied weights of sequences whose target is known to be noise.
        recognizer_loss: ``L^D`` of each batch.
    """

    weights: RunningMoments = field(default_factory=RunningMoments)
    true_positive: RunningMoments = field(default_factory=RunningMoments)
    false_positive: RunningMoments = field(default_factory=RunningMoments)
    recognizer_loss: RunningMoments = field(default_factory=RunningMoments)

    def figures(self) -> dict[str, float]:
        """Return the mean of each part that has values, the weights' as ``mean_weight``."""
        parts = {
            "true_positive": self.true_positive,
            "false_positive": self.false_positive,
            "recognizer_loss": self.recognizer_loss,
        }
        means = {name: moments.mean for name, moments in parts.items() if moments.count}
        return {"mean_weight": self.weights.mean, **means}
