"""Weights of sequences whose noise is known: what their histogram says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbole_atjt.report.result import RunResult

Array = NDArray[np.float64]
#: Bars of a histogram.
BARS = 20


@dataclass(frozen=True)
class Known:
    """Raw weights of sequences whose noise is known, of all seeds together, from the lowest.

    Attributes:
        low: Lower edges of their bins, ``[n]``.
        high: Upper edges, ``[n]``.
        clean: How many clean ones lie in each, ``[n]``.
        noisy: How many noisy ones, ``[n]``.
    """

    low: Array
    high: Array
    clean: Array
    noisy: Array

    @classmethod
    def of(cls, runs: Sequence[RunResult]) -> Known | None:
        """Gather the histograms of a strategy's runs; None where they know nothing."""
        rows = []
        for run in runs:
            bins = (run.weights or {}).get("noise_bins", {})
            names = ("from", "to", "clean", "noisy")
            rows += list(zip(*(bins.get(n, []) for n in names)))
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        table = table[np.isfinite(table).all(axis=1) & (table >= 0).all(axis=1)]
        table = table[np.argsort(table[:, 0], kind="stable")]
        low, first = np.unique(table[:, 0], return_index=True)
        if not len(low):
            return None
        clean, noisy = np.add.reduceat(table[:, 2:], first).T
        if not clean.sum() or not noisy.sum():
            return None
        return cls(low, table[first, 1], clean, noisy)

    def roc(self) -> tuple[Array, Array]:
        """Return the shares of clean and of noisy sequences below each threshold."""
        return _rising(self.clean), _rising(self.noisy)

    def auroc(self) -> float:
        """Return the chance that a clean sequence has the larger weight, ties half."""
        wrong, found = self.roc()
        return float((np.diff(wrong) * (found[1:] + found[:-1]) / 2).sum())

    def precision_recall(self) -> tuple[Array, Array]:
        """Return recall and precision of calling the sequences below a threshold noise."""
        noisy, clean = self.noisy.cumsum(), self.clean.cumsum()
        return noisy / noisy[-1], noisy / (noisy + clean)

    def average_precision(self) -> float:
        """Return the mean precision over the noise found, threshold by threshold."""
        recall, precision = self.precision_recall()
        return float((np.diff(recall, prepend=0.0) * precision).sum())

    @property
    def share(self) -> float:
        """Share of noise."""
        return float(self.noisy.sum() / (self.noisy.sum() + self.clean.sum()))

    def bars(self) -> tuple[Array, Array, Array]:
        """Return edges ``[21]`` and the share of clean and of noisy sequences in each bar ``[20]``.

        A bin that lies over several bars is dealt to them by its length in each.
        """
        top = 1.0 if self.high[-1] <= 1.0 else float(self.high[-1])
        edges = np.linspace(0.0, top, BARS + 1)
        high = np.maximum(self.high, self.low + 1e-9)
        inside = np.minimum(high[:, None], edges[1:]) - np.maximum(self.low[:, None], edges[:-1])
        part = np.clip(inside, 0.0, None) / (high - self.low)[:, None]
        part[:, -1] += 1.0 - part.sum(axis=1)
        return edges, self.clean @ part / self.clean.sum(), self.noisy @ part / self.noisy.sum()


def _rising(counts: Array) -> Array:
    return np.concatenate(([0.0], counts.cumsum() / counts.sum()))
