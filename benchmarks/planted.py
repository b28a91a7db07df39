"""Who gains? Strategies with planted noise, beside plain training and the oracle, cell by cell.

Every finished cell is a line of the output file, so that a killed call goes on where it stopped,
and several calls can share a file. The table is printed at the end, for a finished file at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import tempfile
from collections.abc import Iterator
from itertools import product
from os import chdir
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import recbole_atjt
from recbole_atjt.report.headroom import headroom

STRATEGIES = "none,t_ce,r_ce,atjt:paper,atjt,channel,oracle"
METRIC = "ndcg@10"


def main() -> None:
    """Run the cells that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="GRU4Rec")
    parser.add_argument("--dataset", default="ml-1m-noisy")
    parser.add_argument("--data_path", default="dataset/")
    parser.add_argument("--plant", default="none,clickbait:0.3,popular:0.3")
    parser.add_argument("--seed", default="1,2,3")
    parser.add_argument("--strategies", default=STRATEGIES, help="NAME or NAME:PRESET")
    parser.add_argument("--config", default=str(Path(__file__).parent / "protocols/planted.yaml"))
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE beside the config file")
    parser.add_argument("--output", default="planted.jsonl")
    args = parser.parse_args()
    output, files = Path(args.output).resolve(), [str(Path(args.config).resolve())]
    keys = {"data_path": str(Path(args.data_path).resolve())}
    keys.update(pair.split("=", 1) for pair in args.set)
    chdir(tempfile.mkdtemp())
    logging.getLogger().addHandler(logging.NullHandler())
    asked = [args.plant.split(","), args.seed.split(","), args.strategies.split(",")]
    for plant, seed, strategy in product(*asked):
        cell = {
            "model": args.model,
            "dataset": args.dataset,
            "plant": plant,
            "seed": int(seed),
            "strategy": strategy,
            "set": sorted(args.set),
        }
        if not (plant == "none" and strategy == "oracle") and claim(output, cell):
            finish(output, cell, measure(cell, files, keys))
    print(table([line for line in lines(output) if "test" in line]))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the cells of a file."""
    if path.is_file():
        yield from (json.loads(line) for line in path.read_text().splitlines())


def claim(path: Path, cell: dict[str, Any]) -> bool:
    """Tell whether a cell is to be done by this call: no line of it is there, done or claimed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    claims = path.with_suffix(".claims")
    with claims.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        held = {line.strip() for line in file}
        done = {json.dumps(key_of(line), sort_keys=True) for line in lines(path)}
        name = json.dumps(cell, sort_keys=True)
        if name in held | done:
            return False
        file.write(name + "\n")
        return True


def key_of(line: dict[str, Any]) -> dict[str, Any]:
    """Return what names a cell."""
    return {key: line[key] for key in ("model", "dataset", "plant", "seed", "strategy", "set")}


def finish(path: Path, cell: dict[str, Any], found: dict[str, Any]) -> None:
    """Append a finished cell."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({**cell, **found}) + "\n")
    print(cell["plant"], cell["strategy"], cell["seed"], found.get("test", found), flush=True)


def measure(cell: dict[str, Any], files: list[str], keys: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate a cell."""
    name, _, preset = cell["strategy"].partition(":")
    given = {**keys, "plant": None if cell["plant"] == "none" else cell["plant"]}
    if preset:
        given["preset"] = preset
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = recbole_atjt.run(
                cell["model"], cell["dataset"], name, cell["seed"], files, given, output_dir=folder
            )
        except recbole_atjt.TrainingError as error:
            return {"failed": str(error)}
    (run,) = result.runs
    weights = run.weights or {}
    return {
        "valid": run.valid,
        "test": run.test,
        "best_epoch": run.best_epoch,
        "epochs": run.epochs,
        "epoch_seconds": round(run.seconds["epoch"], 2),
        "noise_auroc": weights.get("noise_auroc"),
        "noise_share": [epoch.get("noise_share") for epoch in weights.get("epochs", [])][-1:],
        "versions": run.versions,
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Return mean and deviation over seeds, headroom, AUROC and share of noise, as Markdown."""
    text = [
        "| model, data | planted | strategy | seeds | NDCG@10 | change | headroom recovered | "
        "AUROC of weights | share found |",
        "|" + " --- |" * 9,
    ]
    groups = dict.fromkeys((c["model"], c["dataset"], c["plant"]) for c in cells)
    for model, dataset, plant in groups:
        mine = [
            c
            for c in cells
            if c["model"] == model and c["dataset"] == dataset and c["plant"] == plant
        ]
        of = {name: by_seed(mine, name) for name in dict.fromkeys(c["strategy"] for c in mine)}
        for name, found in of.items():
            paired = sorted(set(found) & set(of.get("none", {})))
            values = [found[seed] for seed in sorted(found)]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            change = room = ""
            if name != "none" and paired:
                base = [of["none"][seed] for seed in paired]
                change = f"{(mean(found[s] for s in paired) / mean(base) - 1) * 100:+.1f} %"
            known = sorted(set(paired) & set(of.get("oracle", {})))
            if name not in ("none", "oracle") and known:
                series = [[one[s] for s in known] for one in (of["none"], found, of["oracle"])]
                room = str(headroom(*series))
            rows = [c for c in mine if c["strategy"] == name]
            text.append(
                f"| {model}, {dataset} | {plant} | `{name}` | {len(values)} | "
                f"{mean(values):.4f}{spread} | {change} | {room} | "
                f"{average(rows, 'noise_auroc')} | {average(rows, 'noise_share')} |"
            )
    return "\n".join(text)


def by_seed(cells: list[dict[str, Any]], strategy: str) -> dict[int, float]:
    """Return the metric of a strategy's cells by seed."""
    return {c["seed"]: c["test"][METRIC] for c in cells if c["strategy"] == strategy}


def average(cells: list[dict[str, Any]], key: str) -> str:
    """Return the mean of a figure over cells; empty where there is none."""
    values = [c[key][0] if isinstance(c[key], list) and c[key] else c[key] for c in cells]
    numbers = [value for value in values if isinstance(value, float)]
    return f"{mean(numbers):.3f}" if numbers else ""


if __name__ == "__main__":
    main()
