"""The comparison that a call ends with."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from recbole_atjt.report.headroom import headrooms
from recbole_atjt.report.result import RunResult
from recbole_atjt.report.selection import configurations, difference

#: Figure of an epoch: the share of noise that weights use.
_SHARE = "weighted_share"
_BEFORE = {
    "unrelated_users": "of the users click at random",
    "unrelated_repeats": "of the clicks are repeated without interest",
}


def comparison(runs: Sequence[RunResult], width: int | None = None) -> str:
    """Return test metrics of every strategy beside each other, as text; without a test, valid.

    Several seeds give mean and standard deviation; strategies beside ``none`` also show their
    change against it, in percent.

    Args:
        runs: Runs of any models, datasets, strategies and seeds.
        width: Characters that a line may have: metrics that do not fit beside each other stand
            below each other; None for as many as there are.
    """
    blocks = []
    for model, dataset in dict.fromkeys((run.model, run.dataset) for run in runs):
        chosen = [run for run in runs if (run.model, run.dataset) == (model, dataset)]
        part = "test" if chosen[0].test else "valid"
        blocks.append(_block(f"{model} on {dataset}, {part}", chosen, part, width))
    return "\n\n".join(blocks)


def _block(title: str, runs: Sequence[RunResult], part: str, width: int | None) -> str:
    by_weighting = {
        name: [run for run in runs if run.weighting == name]
        for name in dict.fromkeys(run.weighting for run in runs)
    }
    metrics = list(getattr(runs[0], part))
    header = [title, *metrics, "s/epoch"]
    rows = [header]
    base = by_weighting.get("none")
    for name, group in by_weighting.items():
        seeds = f" ({len(group)} seeds)" if len(group) > 1 else ""
        figures = {metric: _values(group, part, metric) for metric in metrics}
        cells = [_figure(values) for values in figures.values()]
        rows.append([name + seeds, *cells, f"{mean(r.seconds['epoch'] for r in group):.1f}"])
        if base and name != "none":
            changes = [_change(_values(base, part, m), values) for m, values in figures.items()]
            rows.append(["  against none", *changes, ""])
    lines = _aligned(rows, width)
    below = [*_headroom(runs), *_recognition(by_weighting), *_suspects(by_weighting), *_gate(runs)]
    below += _chance(by_weighting, part)
    if width is not None:
        below = [textwrap.fill(line, width, subsequent_indent="  ") for line in below]
    return "\n".join([*lines, *below])


def _aligned(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return rows in columns; columns that a line has no room for follow in further tables."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines: list[str] = []
    for columns in _pages(widths, width):
        table = ["  ".join(_pad(row[i], widths[i], i) for i in columns).rstrip() for row in rows]
        table.insert(1, "-" * len(table[0]))
        lines += [*([""] if lines else []), *table]
    return lines


def _pages(widths: Sequence[int], width: int | None) -> list[list[int]]:
    """Deal columns to tables that begin with column 0 and fit, if a single column can."""
    pages = [[0]]
    for column in range(1, len(widths)):
        taken = sum(widths[i] + 2 for i in pages[-1]) + widths[column]
        if width is not None and taken > width and len(pages[-1]) > 1:
            pages.append([0])
        pages[-1].append(column)
    return pages


def _headroom(runs: Sequence[RunResult]) -> list[str]:
    """Say which part of the oracle's gain each strategy recovers."""
    return [
        f"{room['weighting']}: headroom recovered in {room['metric']}: {room['text']}"
        for room in headrooms(runs)
    ]


def _chance(by_weighting: dict[str, list[RunResult]], part: str) -> list[str]:
    """Say what was tried on validation, and which differences seeds alone explain."""
    base = by_weighting.get("none")
    others = {name: group for name, group in by_weighting.items() if name != "none"}
    if not base or not others:
        return []
    metric = str(base[0].config.get("valid_metric", "")).lower()
    tried = configurations([run for group in by_weighting.values() for run in group])
    lines = [f"tried on validation: {tried} configurations"]
    single = [name for name, group in by_weighting.items() if len(group) == 1]
    if single:
        lines.append(
            f"warning: one seed of {', '.join(single)}: another may turn the order round; "
            "give several, such as --seed=1,2,3"
        )
    for name, group in others.items():
        if metric not in getattr(group[0], part):
            continue
        compared = difference(_values(base, part, metric), _values(group, part, metric))
        if compared.is_within_spread:
            lines.append(
                f"warning: {name}: its difference in {metric}, {compared.change:+.4f}, is smaller "
                f"than the spread of the seeds, {compared.spread:.4f}"
            )
    return lines


def _suspects(by_weighting: dict[str, list[RunResult]]) -> list[str]:
    """Say what noise a strategy found in its first run, and on which items; or that it found none.

    Where weights use none of the share that was found, the training was plain.
    """
    lines = []
    for name, group in by_weighting.items():
        weights = group[0].weights or {}
        used = [each[_SHARE] for each in weights.get("epochs", []) if _SHARE in each]
        if not used:
            continue
        if not any(used):
            lines.append(
                f"{name}: found no noise that it could weigh down, and trained as none does"
            )
            continue
        items = weights.get("noise_items", [])
        named = ", ".join(item["title"] or item["item"] for item in items[:5])
        begun = weights.get("begun")
        since = "" if not begun else f", with which training began again in epoch {begun}"
        most = f"; most of it on {named}" if named else ""
        last = weights["epochs"][-1]
        before = [f"{last[each]:.3f} {what}" for each, what in _BEFORE.items() if each in last]
        told = f"; known before the training: {', '.join(before)}" if before else ""
        lines.append(f"{name}: share of noise {used[-1]:.3f}{since}{most}{told}")
    return lines


def _recognition(by_weighting: dict[str, list[RunResult]]) -> list[str]:
    """Say how strategies weighed original and replaced sequences, and known noise."""
    lines = []
    for name, group in by_weighting.items():
        weights = [run.weights for run in group if run.weights]
        if weights and "auroc" in weights[0]:
            area = mean(w["auroc"] for w in weights)
            # WAT has one recogniser for all users.
            unseen = "" if name == "wat" else " of users the recogniser never saw"
            lines.append(
                f"{name}: mean weight {_mean_of('original', weights)} of original and "
                f"{_mean_of('replaced', weights)} of replaced sequences{unseen} (AUROC {area:.3f})"
            )
        if weights and all({"true_positive", "false_positive"} <= w.keys() for w in weights):
            lines.append(
                f"{name}: mean weight {_mean_of('true_positive', weights)} of true and "
                f"{_mean_of('false_positive', weights)} of false positives in the last epoch"
            )
    return lines


def _gate(runs: Sequence[RunResult]) -> list[str]:
    """Say which experts a gate chose, as the mean over runs of the users' shares."""
    gates = [run.gate for run in runs if run.gate]
    if not gates:
        return []
    names = dict.fromkeys(name for gate in gates for name in gate)
    shares = {name: mean(gate.get(name, 0.0) for gate in gates) for name in names}
    chosen = ", ".join(f"{name} for {share:.1%}" for name, share in shares.items())
    return [f"gate: {chosen} of users"]


def _mean_of(name: str, weights: Sequence[dict[str, Any]]) -> str:
    return f"{mean(w[name]['mean'] for w in weights):.3f}"


def _values(runs: Sequence[RunResult], part: str, metric: str) -> list[float]:
    return [getattr(run, part)[metric] for run in runs]


def _figure(values: Sequence[float]) -> str:
    spread = f" ±{stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def _change(base: Sequence[float], group: Sequence[float]) -> str:
    before = mean(base)
    return f"{(mean(group) / before - 1) * 100:+.2f} %" if before else "n/a"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)
