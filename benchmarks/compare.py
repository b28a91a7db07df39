"""Strategies beside plain training, over several seeds, each finished run kept on disk.

A call that is repeated goes on where the last one stopped: a cell whose result.json lies in
``--output_dir`` is not run again. The last line is JSON: for each model and dataset the mean of
every test metric by strategy, its standard deviation, its change against ``none`` in percent, and
on how many seeds it was better. With ``--reported=FILE`` a table is printed before it that sets
the figures, in percent, beside those that a paper reports (model -> strategy -> metric).

``python benchmarks/compare.py --model=SASRec,WideDeep --dataset=ml-latest-small --seed=1,2,3,4,5
--data_path=DIR --config_files=benchmarks/protocols/SASRec.yaml --output_dir=DIR``
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

import recbole_atjt
from recbole_atjt.report.result import RunResult
from recbole_atjt.report.table import comparison
from recbole_atjt.settings.arguments import parse_arguments


def main() -> None:
    """Run what is missing, then compare all."""
    given = parse_arguments(sys.argv[1:])
    lists = {key: given.pop(key).split(",") for key in ("model", "dataset", "weighting", "seed")}
    files = given.pop("config_files", "").split()
    folder = Path(given.pop("output_dir"))
    reported = given.pop("reported", None)
    runs = []
    for seed, dataset, model, weighting in product(
        lists["seed"], lists["dataset"], lists["model"], lists["weighting"]
    ):
        cell = folder / f"{model}-{dataset}-{weighting}-{seed}"
        if not (cell / "result.json").exists():
            recbole_atjt.run(
                model,
                dataset,
                weighting,
                int(seed),
                [f.format(model=model) for f in files],
                {"show_progress": False, **given},
                cell,
            )
        (run,) = json.loads((cell / "result.json").read_text())["runs"]
        runs.append(RunResult(**run))
    print(comparison(runs))
    if reported:
        print(beside_reported(summary(runs), yaml.safe_load(Path(reported).read_text())))
    print(json.dumps(summary(runs)))


def summary(runs: list[RunResult]) -> dict[str, Any]:
    """Summarise test metrics by model, dataset and strategy."""
    found: dict[str, Any] = {}
    for model, dataset in dict.fromkeys((run.model, run.dataset) for run in runs):
        here = [run for run in runs if (run.model, run.dataset) == (model, dataset)]
        plain = {run.seed: run for run in here if run.weighting == "none"}
        for weighting in dict.fromkeys(run.weighting for run in here):
            group = [run for run in here if run.weighting == weighting]
            found[f"{model}/{dataset}/{weighting}"] = {
                metric: _figures(metric, group, plain) for metric in group[0].test
            }
    return found


def beside_reported(found: dict[str, Any], reported: dict[str, Any]) -> str:
    """Return a Markdown table of every metric that is reported: ours, change, theirs, change."""
    metrics = list(next(iter(next(iter(reported.values())).values())))
    lines = [
        "| model | weighting | " + " | ".join(f"{m}: ours | paper" for m in metrics) + " |",
        "| --- | --- |" + " --- | --- |" * len(metrics),
    ]
    for name, figures in found.items():
        model, _, weighting = name.split("/")
        theirs = reported.get(model, {})
        cells = []
        for metric in metrics:
            figure = figures[metric]
            cells.append(f"{figure['mean'] * 100:.2f} ± {figure['std'] * 100:.2f}")
            if "change_percent" in figure:
                cells[-1] += f" ({figure['change_percent']:+.1f} %, {figure['seeds_better']})"
            cells.append(_reported(metric, theirs.get(weighting, {}), theirs.get("none", {})))
        lines.append(f"| {model} | {weighting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _reported(metric: str, figures: dict[str, float], base: dict[str, float]) -> str:
    if metric not in figures:
        return ""
    change = (figures[metric] / base[metric] - 1) * 100
    return f"{figures[metric]:.2f}" + (f" ({change:+.1f} %)" if figures is not base else "")


def _figures(
    metric: str, group: list[RunResult], plain: dict[int, RunResult]
) -> dict[str, float | int]:
    values = [run.test[metric] for run in group]
    figures: dict[str, float | int] = {
        "mean": round(mean(values), 5),
        "std": round(stdev(values), 5) if len(values) > 1 else 0.0,
    }
    pairs = [(run.test[metric], plain[run.seed].test[metric]) for run in group if run.seed in plain]
    if pairs and group[0].weighting != "none":
        base = mean(before for _, before in pairs)
        figures["change_percent"] = round((mean(v for v, _ in pairs) / base - 1) * 100, 2)
        figures["seeds_better"] = sum(value > before for value, before in pairs)
        figures["seeds"] = len(pairs)
    return figures


if __name__ == "__main__":
    main()
