"""Figures of known noise: histograms of weights, ROC and precision-recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recbole_atjt.report.page.drawing import drawn
from recbole_atjt.report.page.look import CLEAN, MUTED, NOISY, looks
from recbole_atjt.report.page.picture import Block, Picture, number
from recbole_atjt.report.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
#: Bars of a histogram.
_BARS = 20


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
        edges = np.linspace(0.0, top, _BARS + 1)
        high = np.maximum(self.high, self.low + 1e-9)
        inside = np.minimum(high[:, None], edges[1:]) - np.maximum(self.low[:, None], edges[:-1])
        part = np.clip(inside, 0.0, None) / (high - self.low)[:, None]
        part[:, -1] += 1.0 - part.sum(axis=1)
        return edges, self.clean @ part / self.clean.sum(), self.noisy @ part / self.noisy.sum()


def _rising(counts: Array) -> Array:
    return np.concatenate(([0.0], counts.cumsum() / counts.sum()))


def known_noise(block: Block) -> dict[str, Known]:
    """Return the known weights of each strategy that has any."""
    found = {name: Known.of(runs) for name, runs in block.strategies.items()}
    return {name: known for name, known in found.items() if known is not None}


def known_pictures(block: Block) -> list[Picture]:
    """Return histograms, ROC and precision-recall; the oracle, which is the truth, has no bars."""
    known = known_noise(block)
    if not known:
        return []
    bars = [
        _histogram(block, place, name, each)
        for place, (name, each) in enumerate(known.items())
        if name != "oracle"
    ]
    return [*bars, _roc(block, known), _precision_recall(block, known)]


def _histogram(block: Block, place: int, name: str, known: Known) -> Picture:
    edges, clean, noisy = known.bars()

    def draw(axes: Axes) -> list[tuple[Any, str]]:
        filled = axes.stairs(clean, edges, fill=True, color=CLEAN, alpha=0.45)
        outline = axes.stairs(noisy, edges, fill=False, color=NOISY, linewidth=1.8)
        outline.set_hatch("////")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("weight in the last epoch")
        axes.set_ylabel("share of the sequences")
        return [(filled, "clean"), (outline, "noisy")]

    label = (
        f"Weights of {name}. Below {edges[_BARS // 2]:.2g} lie {clean[: _BARS // 2].sum():.1%} of "
        f"the clean and {noisy[: _BARS // 2].sum():.1%} of the noisy sequences"
    )
    rows = [
        [f"{low:.2f} to {high:.2f}", number(one), number(other)]
        for low, high, one, other in zip(edges, edges[1:], clean, noisy)
    ]
    return Picture(
        f"{name}: weights of clean and noisy sequences, before any normalising; a good strategy "
        "keeps the two apart.",
        drawn(draw, label, f"b{block.number}-bars{place}"),
        ["weight", "clean", "noisy"],
        rows,
    )


def _roc(block: Block, known: dict[str, Known]) -> Picture:
    areas = {name: each.auroc() for name, each in known.items()}

    def draw(axes: Axes) -> list[tuple[Any, str]]:
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
        return _rates(
            axes, block, known, lambda each: each.roc(), "clean taken for noise", "noise found"
        )

    label = "ROC. " + "; ".join(f"{name}: area {area:.3f}" for name, area in areas.items())
    return Picture(
        "ROC: the sequences below a weight are called noise, for every weight. The dashed line is "
        "chance.",
        drawn(draw, label, f"b{block.number}-roc"),
        ["strategy", "AUROC"],
        [[name, number(area, 3)] for name, area in areas.items()],
    )


def _precision_recall(block: Block, known: dict[str, Known]) -> Picture:
    share = next(iter(known.values())).share

    def draw(axes: Axes) -> list[tuple[Any, str]]:
        axes.axhline(share, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
        return _rates(
            axes,
            block,
            known,
            lambda each: each.precision_recall(),
            "noise found (recall)",
            "precision",
        )

    scores = {name: each.average_precision() for name, each in known.items()}
    told = "; ".join(f"{name}: average {score:.3f}" for name, score in scores.items())
    return Picture(
        f"Precision and recall of finding noise. The dashed line is chance, {share:.3f}.",
        drawn(draw, f"Precision-recall. {told}", f"b{block.number}-pr"),
        ["strategy", "average precision"],
        [[name, number(score, 3)] for name, score in scores.items()],
    )


def _rates(
    axes: Axes, block: Block, known: dict[str, Known], points: Any, across: str, upward: str
) -> list[tuple[Any, str]]:
    look = looks(block.strategies)
    entries = []
    for name, each in known.items():
        style = look[name]
        x, y = points(each)
        (line,) = axes.plot(
            x,
            y,
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markevery=max(1, len(x) // 6),
        )
        entries.append((line, name))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=across, ylabel=upward)
    return entries
