"""The tables of a page: comparison, how weights tell noise, suspects, selection, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from recbole_atjt.report.headroom import headrooms
from recbole_atjt.report.page.curves import true_share
from recbole_atjt.report.page.html import Markup, element, joined
from recbole_atjt.report.page.known import known_noise
from recbole_atjt.report.page.picture import NOTHING, Block, number, table
from recbole_atjt.report.result import RunResult
from recbole_atjt.report.selection import Difference, configurations, difference

#: A difference that seeds alone explain.
WITHIN = "≈"


def values(runs: Sequence[RunResult], part: str, metric: str) -> list[float]:
    """Return a metric of each run that has it."""
    found = (getattr(run, part).get(metric) for run in runs)
    return [value for value in found if value is not None and value == value]


def against_plain(block: Block, name: str, metric: str) -> Difference | None:
    """Compare a strategy with plain training; None where either has no value."""
    base = values(block.strategies.get("none", []), block.part, metric)
    mine = values(block.strategies[name], block.part, metric)
    return difference(base, mine) if base and mine and name != "none" else None


def rooms(block: Block) -> dict[str, str]:
    """Return the headroom that each strategy recovers, as text."""
    return {room["weighting"]: room["text"] for room in headrooms(block.runs)}


def comparison_table(block: Block) -> Markup:
    """Return metrics of every strategy beside plain training, with spread and headroom."""
    metrics = list(getattr(block.runs[0], block.part))
    metrics.sort(key=lambda metric: metric != block.metric)
    recovered = rooms(block)
    header = ["strategy", *(metric.upper() for metric in metrics)]
    if recovered:
        header.insert(2, "headroom recovered")
    rows = []
    for name, runs in block.strategies.items():
        seeds = f"{len(runs)} seeds" if len(runs) > 1 else "1 seed"
        cells = [_cell(block, name, metric) for metric in metrics]
        if recovered:
            cells.insert(1, element("span", recovered.get(name, "")))
        seconds = values(runs, "seconds", "epoch")
        cells.append(element("span", number(mean(seconds), 1) if seconds else NOTHING))
        rows.append([joined(name, " ", element("small", seeds)), *cells])
    return table(f"{block.title}, {block.part}", [*header, "seconds an epoch"], rows)


def _cell(block: Block, name: str, metric: str) -> Markup:
    found = values(block.strategies[name], block.part, metric)
    if not found:
        return element("span", NOTHING)
    spread = element("small", f" ± {stdev(found):.4f}") if len(found) > 1 else ""
    parts: list[object] = [number(mean(found)), spread]
    compared = against_plain(block, name, metric)
    if compared is not None:
        sign = "" if compared.percent is None else f"{compared.percent:+.1f} %"
        close = f" {WITHIN}" if compared.is_within_spread else ""
        kind = "close" if close else "change"
        parts += [element("br"), element("small", f"{sign}{close}", class_=kind)]
    return joined(*parts)


def noise_table(block: Block) -> Markup | None:
    """Return how the weights of each strategy tell known noise; None where none is known."""
    known = known_noise(block)
    true = true_share(block.runs)
    rows = []
    for name, runs in block.strategies.items():
        weights = [run.weights for run in runs if run.weights]
        areas = [w["noise_auroc"] for w in weights if w.get("noise_auroc") is not None]
        if not areas:
            continue
        last = [w["epochs"][-1].get("noise_share") for w in weights if w.get("epochs")]
        shares = [share for share in last if share is not None]
        score = known[name].average_precision() if name in known else None
        rows.append(
            [
                name,
                *(number(_mean(w.get(n, {}).get("mean") for w in weights), 3) for n in _PARTS),
                number(mean(areas), 3),
                number(score, 3),
                number(mean(shares), 3) if shares else NOTHING,
                number(true, 3),
            ]
        )
    header = ["strategy", "mean weight of clean", "of noisy", "AUROC", "average precision"]
    label = f"{block.title}: how weights tell noise"
    return table(label, [*header, "share of noise, estimated", "true"], rows) if rows else None


_PARTS = ("true_positive", "false_positive")


def _mean(found: Any) -> float | None:
    kept = [value for value in found if value is not None]
    return mean(kept) if kept else None


def suspects_tables(block: Block) -> list[Markup]:
    """Return the items that each strategy holds most responsible, mean over its seeds."""
    found = []
    for name, runs in block.strategies.items():
        shares: dict[tuple[str, str], list[float]] = {}
        for run in runs:
            for item in (run.weights or {}).get("noise_items", []):
                shares.setdefault((item["item"], item["title"]), []).append(item["share"])
        means = {item: sum(each) / len(runs) for item, each in shares.items()}
        ranked = sorted(means.items(), key=lambda pair: -pair[1])[:10]
        if not ranked or not ranked[0][1] > 0:
            continue
        top = ranked[0][1]
        named = any(title for (_, title), _ in ranked)
        rows = [
            [*([element("bdi", title)] if named else []), element("bdi", item), _bar(share, top)]
            for (item, title), share in ranked
        ]
        header = [*(["title"] if named else []), "item", "share of the noise"]
        heading = element("h4", name)
        label = f"{block.title}: items held responsible by {name}"
        found.append(element("div", heading, table(label, header, rows)))
    return found


def _bar(share: float, top: float) -> Markup:
    width = f"--part: {max(0.0, min(1.0, share / top)):.3f}"
    return joined(
        element("span", f"{share:.2%}"),
        element("span", class_="bar", style=width, aria_hidden="true"),
    )


def selection_table(blocks: Sequence[Block]) -> Markup:
    """Return how many configurations were tried on validation, and which epochs it chose."""
    rows = []
    for block in blocks:
        for name, runs in block.strategies.items():
            checked = [sum("valid" in each for each in run.progress) for run in runs]
            rows.append(
                [
                    block.title,
                    name,
                    configurations(runs),
                    ", ".join(str(run.seed) for run in runs),
                    ", ".join(str(run.best_epoch) for run in runs),
                    sum(checked) if any(checked) else "not noted",
                ]
            )
    header = ["model and data", "strategy", "configurations", "seeds", "chosen epochs"]
    return table("What was tried on validation", [*header, "validations"], rows)


def runs_table(block: Block) -> Markup:
    """Return every run by itself."""
    metric = block.metric
    rows = [
        [
            run.weighting,
            run.seed,
            run.best_epoch,
            run.epochs,
            number(run.valid.get(metric)),
            number(run.test.get(metric)),
            number(run.seconds.get("train"), 1),
            element("code", run.checkpoint),
        ]
        for run in block.runs
    ]
    name = metric.upper()
    header = ["strategy", "seed", "chosen epoch", "epochs", f"{name}, validation", f"{name}, test"]
    return table(f"{block.title}: every run", [*header, "seconds", "checkpoint"], rows)


def settings_tables(runs: Sequence[RunResult]) -> tuple[Markup, Markup]:
    """Return the settings that differ between runs, and those that all have."""
    keys = sorted({key for run in runs for key in run.config})
    texts = {key: [_text(run.config, key) for run in runs] for key in keys}
    same = [[key, element("code", found[0])] for key, found in texts.items() if len({*found}) == 1]
    varied = [
        [key, element("code", ", ".join(dict.fromkeys(found)))]
        for key, found in texts.items()
        if len({*found}) > 1
    ]
    return (
        table("Settings that differ", ["key", "values"], varied),
        table("Settings of all runs", ["key", "value"], same),
    )


def _text(config: Mapping[str, Any], key: str) -> str:
    """Return a setting as text; a dash for a key that a model does not have."""
    value = config.get(key)
    if key not in config:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value)


def versions_table(runs: Sequence[RunResult]) -> Markup:
    """Return the versions that the runs were made with."""
    names = dict.fromkeys(name for run in runs for name in run.versions)
    rows = [
        [name, ", ".join(dict.fromkeys(run.versions.get(name, "unknown") for run in runs))]
        for name in names
    ]
    return table("Versions", ["package", "version"], rows)
