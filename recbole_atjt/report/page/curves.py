"""Figures over epochs: loss, validation, the recogniser's loss, share of noise, weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from recbole_atjt.report.page.drawing import drawn
from recbole_atjt.report.page.look import MUTED, SURFACE, Look, looks
from recbole_atjt.report.page.picture import Block, Picture, number
from recbole_atjt.report.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A curve: value by epoch.
Curve = dict[int, float]


def training_pictures(block: Block) -> list[Picture]:
    """Return how the recommender and its recognisers learned."""
    found = [
        _lines(
            block,
            "loss",
            "Loss of the recommender, mean of each epoch's batches; weights change its scale, so "
            "compare shapes, not heights. Where training begins again, its curve does.",
            lambda run: _noted(run.progress, "loss"),
            "loss",
        ),
        _lines(
            block,
            "valid",
            f"{block.metric.upper()} on validation; a large marker is the epoch that was chosen.",
            lambda run: _noted(run.progress, "valid"),
            f"{block.metric.upper()}, validation",
            chosen=True,
        ),
        _lines(
            block,
            "recogniser",
            "Loss of the recognisers' own task: original or replaced?",
            lambda run: _of_weights(run, "recognizer_loss"),
            "loss of the recognisers",
        ),
    ]
    return [picture for picture in found if picture is not None]


def noise_pictures(block: Block) -> list[Picture]:
    """Return share of noise and mean weights over epochs."""
    true = true_share(block.runs)
    known = "" if true is None else f"; the dashed line is the true share, {true:.3f}"
    share = _lines(
        block,
        "share",
        f"Share of noise that a strategy estimates{known}.",
        lambda run: _of_weights(run, "noise_share"),
        "share of noise",
        level=true,
    )
    found = [share, _mean_weights(block)]
    return [picture for picture in found if picture is not None]


def true_share(runs: Sequence[RunResult]) -> float | None:
    """Return the share of training sequences that are known to be noise; None if unknown."""
    for run in runs:
        weights = run.weights or {}
        parts = [weights.get(n, {}).get("count") for n in ("true_positive", "false_positive")]
        if all(part is not None and part > 0 for part in parts):
            return float(parts[1] / sum(parts))
    return None


def _noted(entries: Sequence[Mapping[str, float]], name: str) -> Curve:
    return {
        int(each["epoch"]): each[name]
        for each in entries
        if not math.isnan(each.get(name, math.nan) + each.get("epoch", math.nan))
    }


def _of_weights(run: RunResult, name: str) -> Curve:
    return _noted((run.weights or {}).get("epochs", []), name)


def _mean(curves: Sequence[Curve]) -> Curve:
    """Return the mean over seeds of the epochs that all of them have."""
    common = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {epoch: mean(curve[epoch] for curve in curves) for epoch in common}


def _lines(
    block: Block,
    name: str,
    caption: str,
    read: Callable[[RunResult], Curve],
    axis: str,
    chosen: bool = False,
    level: float | None = None,
) -> Picture | None:
    """Draw one line for each strategy, the mean over seeds, with the seeds thin behind it."""
    curves = {
        strategy: [curve for curve in map(read, runs) if curve]
        for strategy, runs in block.strategies.items()
    }
    curves = {strategy: seeds for strategy, seeds in curves.items() if seeds}
    if not curves:
        return None
    look = looks(block.strategies)

    def draw(axes: Axes) -> list[tuple[Any, str]]:
        entries = [
            (_strategy(axes, look[strategy], seeds), strategy) for strategy, seeds in curves.items()
        ]
        if chosen:
            for strategy in curves:
                _mark_chosen(axes, look[strategy], block.strategies[strategy], read)
        if level is not None:
            axes.axhline(level, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
            axes.set_ylim(bottom=0)
        _label_epochs(axes, axis)
        return entries

    means = {strategy: _mean(seeds) for strategy, seeds in curves.items()}
    return Picture(
        caption,
        drawn(draw, f"{axis} by epoch. {_told(means)}", f"b{block.number}-{name}"),
        ["epoch", *means],
        _by_epoch(means),
    )


def _strategy(axes: Axes, look: Look, seeds: Sequence[Curve]) -> Any:
    if len(seeds) > 1:
        for curve in seeds:
            axes.plot(list(curve), list(curve.values()), color=look.color, alpha=0.3, linewidth=0.8)
    shown = _mean(seeds)
    (line,) = axes.plot(
        list(shown),
        list(shown.values()),
        color=look.color,
        linestyle=look.dash,
        marker=look.marker,
        markevery=max(1, len(shown) // 8),
    )
    return line


def _mark_chosen(
    axes: Axes, look: Look, runs: Sequence[RunResult], read: Callable[[RunResult], Curve]
) -> None:
    for run in runs:
        value = read(run).get(run.best_epoch)
        if value is not None:
            style: Any = {"color": look.color, "marker": look.marker, "linestyle": "none"}
            axes.plot([run.best_epoch], [value], markersize=9, zorder=3, **style)


def _label_epochs(axes: Axes, name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)


def _mean_weights(block: Block) -> Picture | None:
    """Draw the mean weight of clean and noisy sequences; of all where the data does not know."""
    look = looks(block.strategies)
    lines: dict[str, tuple[Look, str, Curve]] = {}
    for strategy, runs in block.strategies.items():
        for name, text in (("true_positive", "clean"), ("false_positive", "noisy")):
            seeds = [curve for curve in (_of_weights(run, name) for run in runs) if curve]
            if seeds:
                lines[f"{strategy}, {text}"] = look[strategy], text, _mean(seeds)
        if f"{strategy}, clean" not in lines:
            seeds = [curve for curve in (_of_weights(run, "mean_weight") for run in runs) if curve]
            if seeds:
                lines[strategy] = look[strategy], "clean", _mean(seeds)
    if not lines:
        return None

    def draw(axes: Axes) -> list[tuple[Any, str]]:
        entries = []
        for name, (style, text, curve) in lines.items():
            (line,) = axes.plot(
                list(curve),
                list(curve.values()),
                color=style.color,
                marker=style.marker,
                linestyle="-" if text == "clean" else (0, (2, 2)),
                markevery=max(1, len(curve) // 8),
            )
            if text == "noisy":
                line.set(markerfacecolor=SURFACE, markeredgecolor=style.color, markeredgewidth=1.2)
            entries.append((line, name))
        axes.set_ylim(bottom=0)
        _label_epochs(axes, "mean weight")
        return entries

    curves = {name: curve for name, (_, _, curve) in lines.items()}
    split = any(text == "noisy" for _, text, _ in lines.values())
    caption = (
        "Mean weight of sequences with a clean and with a noisy target (dashed, hollow markers)."
        if split
        else "Mean weight of all training sequences; the data does not know its noise."
    )
    drawing = drawn(draw, f"mean weight by epoch. {_told(curves)}", f"b{block.number}-weights")
    return Picture(caption, drawing, ["epoch", *curves], _by_epoch(curves))


def _told(curves: Mapping[str, Curve]) -> str:
    """Say in words where each line begins and ends."""
    parts = []
    for name, curve in curves.items():
        if curve:
            first, last = min(curve), max(curve)
            parts.append(
                f"{name}: {number(curve[first])} in epoch {first}, "
                f"{number(curve[last])} in epoch {last}"
            )
    return "; ".join(parts)


def _by_epoch(curves: Mapping[str, Curve]) -> list[list[object]]:
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    return [[epoch, *(number(curve.get(epoch)) for curve in curves.values())] for epoch in epochs]
