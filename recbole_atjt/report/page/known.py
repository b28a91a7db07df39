"""Figures of known noise: histograms of weights, ROC and precision-recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_atjt.report.known import BARS, Array, Known
from recbole_atjt.report.page.drawing import drawn
from recbole_atjt.report.page.look import CLEAN, MUTED, NOISY, looks
from recbole_atjt.report.page.picture import Block, Picture, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        f"Weights of {name}. Below {edges[BARS // 2]:.2g} lie {clean[: BARS // 2].sum():.1%} of "
        f"the clean and {noisy[: BARS // 2].sum():.1%} of the noisy sequences"
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
        axes.set(xlabel="clean taken for noise", ylabel="noise found")
        return _rates(axes, block, {name: each.roc() for name, each in known.items()})

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
        axes.set(xlabel="noise found (recall)", ylabel="precision")
        return _rates(axes, block, {n: _steps(each) for n, each in known.items()}, steps=True)

    scores = {name: each.average_precision() for name, each in known.items()}
    told = "; ".join(f"{name}: average {score:.3f}" for name, score in scores.items())
    return Picture(
        f"Precision and recall of finding noise. The dashed line is chance, {share:.3f}.",
        drawn(draw, f"Precision-recall. {told}", f"b{block.number}-pr"),
        ["strategy", "average precision"],
        [[name, number(score, 3)] for name, score in scores.items()],
    )


def _steps(known: Known) -> tuple[Array, Array]:
    """Return recall and precision from the first noise that is found, back to recall 0."""
    recall, precision = known.precision_recall()
    recall, precision = recall[recall > 0], precision[recall > 0]
    return np.append(0.0, recall), np.append(precision[0], precision)


def _rates(
    axes: Axes, block: Block, points: Mapping[str, tuple[Array, Array]], steps: bool = False
) -> list[tuple[Any, str]]:
    look = looks(block.strategies)
    entries = []
    for name, (x, y) in points.items():
        style = look[name]
        (line,) = axes.plot(
            x,
            y,
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markevery=max(1, len(x) // 6),
            drawstyle="steps-pre" if steps else "default",
        )
        entries.append((line, name))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return entries
