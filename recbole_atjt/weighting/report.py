"""What a strategy says of an epoch; sums stay on the device until somebody reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

#: Where the scale of weights above 1 begins; those up to 1 end at 13.8, the logit of 1 - 1e-6.
_ABOVE_1 = 14.0


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

    def state(self) -> Tensor | None:
        """Return what was gathered; None before anything was."""
        return self._sums

    def load(self, state: Tensor | None) -> None:
        """Go on from what :meth:`state` gave."""
        self._sums = state

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


class Curve:
    """How well a score tells two classes apart, gathered in a histogram."""

    _BINS = 400
    _RANGE = 20.0

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def add(self, higher: Tensor, weights: Tensor, lower: Tensor, other: Tensor) -> None:
        """Take in logits of both classes.

        Args:
            higher: Logits of the class that should have the larger ones, ``[n]``.
            weights: Their importance, ``[n]``.
            lower: Logits of the other class, ``[m]``.
            other: Their importance, ``[m]``.
        """
        if self._counts is None:
            self._counts = torch.zeros(2, self._BINS, dtype=torch.float64, device=higher.device)
        for row, (values, importance) in enumerate(((higher, weights), (lower, other))):
            place = (values.clamp(-self._RANGE, self._RANGE) / self._RANGE + 1.0) / 2.0
            index = (place * (self._BINS - 1)).long()
            self._counts[row].index_add_(0, index, importance.double())

    def state(self) -> Tensor | None:
        """Return what was gathered; None before anything was."""
        return self._counts

    def load(self, state: Tensor | None) -> None:
        """Go on from what :meth:`state` gave."""
        self._counts = None if state is None else state.clone()

    @property
    def count(self) -> int:
        """How many values have some importance, as a whole number at least 1 where there is any."""
        return 0 if self._counts is None else max(1, round(float(self._counts.sum())))

    def bins(self) -> Tensor:
        """Return the bins that hold anything, ``[n, 4]``: lower edge, upper edge, both masses."""
        if self._counts is None:
            return torch.zeros(0, 4, dtype=torch.float64)
        counts = self._counts.cpu()
        edges = torch.arange(self._BINS + 1, dtype=torch.float64) / (self._BINS - 1)
        edges = (2.0 * edges - 1.0) * self._RANGE
        table = torch.stack((edges[:-1], edges[1:], *counts), dim=1)
        return table[counts.sum(0) > 0]

    def auroc(self) -> float:
        """Return the chance that the first class has the larger score, ties half."""
        if self._counts is None or not bool((self._counts.sum(1) > 0).all()):
            return float("nan")
        first, second = self._counts / self._counts.sum(1, keepdim=True)
        below = second.cumsum(0) - second
        return float((first * (below + 0.5 * second)).sum())


def _place_of(weight: Tensor) -> Tensor:
    """Place weights on a scale that is monotone in them, and as fine near 1 as near 0."""
    return torch.where(
        weight > 1, _ABOVE_1 + torch.log(weight), torch.logit(weight.clamp(1e-6, 1 - 1e-6))
    )


def _weight_at(place: Tensor) -> Tensor:
    """Return the weights of places."""
    return torch.where(place > _ABOVE_1, torch.exp(place - _ABOVE_1), torch.sigmoid(place))


@dataclass
class EpochReport:
    """What a strategy has to say about an epoch; the strategy alone writes it.

    Args:
        weights: Weights before a strategy normalises them; the applied ones where it adds none.
        true_positive: Applied weights of sequences whose target is known to be no noise.
        false_positive: Applied weights of sequences whose target is known to be noise.
        recognizer_loss: ``L^D`` of each batch.
        truth: How well raw weights tell known true positives from known noise.
        original: Raw weights of original sequences, where a recogniser met them in training.
        replaced: Raw weights of replaced ones.
    """

    weights: RunningMoments = field(default_factory=RunningMoments)
    true_positive: RunningMoments = field(default_factory=RunningMoments)
    false_positive: RunningMoments = field(default_factory=RunningMoments)
    recognizer_loss: RunningMoments = field(default_factory=RunningMoments)
    truth: Curve = field(default_factory=Curve)
    original: RunningMoments = field(default_factory=RunningMoments)
    replaced: RunningMoments = field(default_factory=RunningMoments)

    def state(self) -> dict[str, Tensor | None]:
        """Return what was gathered, by name."""
        return {item.name: getattr(self, item.name).state() for item in fields(self)}

    def load(self, state: Mapping[str, Tensor | None], device: torch.device) -> None:
        """Go on from what :meth:`state` gave.

        Args:
            state: By name.
            device: Where more is gathered.
        """
        for name, value in state.items():
            getattr(self, name).load(None if value is None else value.to(device))

    def note_truth(self, raw: Tensor, applied: Tensor, true: Tensor) -> None:
        """Take in the weights of sequences whose noise is known.

        Args:
            raw: Weights before they are normalised, ``[S]``.
            applied: Weights after, ``[S]``.
            true: Whether each sequence is no noise, ``[S]``.
        """
        self.true_positive.add(applied, true)
        self.false_positive.add(applied, ~true)
        place = _place_of(raw.detach().float())
        self.truth.add(place, true.double(), place, (~true).double())

    def known(self) -> dict[str, list[float]]:
        """Return the histogram of raw weights of sequences whose noise is known.

        Returns:
            ``from`` and ``to``, the edges of each bin, and ``clean`` and ``noisy``, the sequences
            in it; empty lists where nothing is known.
        """
        bins = self.truth.bins()
        bins[:, :2] = _weight_at(bins[:, :2])
        names = ("from", "to", "clean", "noisy")
        return {name: bins[:, column].tolist() for column, name in enumerate(names)}

    def figures(self) -> dict[str, float]:
        """Return the mean of each part that has values, the weights' as ``mean_weight``."""
        parts = {
            "true_positive": self.true_positive,
            "false_positive": self.false_positive,
            "recognizer_loss": self.recognizer_loss,
        }
        means = {name: moments.mean for name, moments in parts.items() if moments.count}
        return {"mean_weight": self.weights.mean, **means}
