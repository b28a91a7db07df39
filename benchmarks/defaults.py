"""Variants of a strategy's settings beside plain training, by validation metrics only.

A repeated call goes on where the last one stopped. The last line is JSON: the mean of every
validation metric by variant, and the number of seeds.

``python benchmarks/defaults.py --model=SASRec --dataset=ml-100k --seed=1,2
--variants=benchmarks/protocols/variants.yaml
--config_files=benchmarks/protocols/defaults-SASRec.yaml --output_dir=DIR``
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recbole_atjt
from recbole_atjt.settings.arguments import parse_arguments
from recbole_atjt.settings.yaml_values import load_yaml


def main() -> None:
    """Run what is missing, then print one line a variant."""
    given = parse_arguments(sys.argv[1:])
    model, dataset = given.pop("model"), given.pop("dataset")
    seeds = [int(seed) for seed in given.pop("seed").split(",")]
    variants = load_yaml(Path(given.pop("variants")))
    files = given.pop("config_files", "").split()
    folder = Path(given.pop("output_dir"))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed, name in product(seeds, variants):
        cell = folder / f"{model}-{dataset}-{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        if not (cell / "result.json").exists():
            keys = {"weighting": "atjt", "show_progress": False, **given, **variants[name]}
            recbole_atjt.run(model, dataset, None, seed, files, keys, cell)
        (run,) = json.loads((cell / "result.json").read_text())["runs"]
        found[name].append(run["valid"])
    result = {name: _means(valid) for name, valid in found.items()}
    for name, figures in result.items():
        print(f"{name:24s}", "  ".join(f"{k} {v:.4f}" for k, v in figures.items()))
    print(json.dumps({"model": model, "dataset": dataset, "seeds": len(seeds), **result}))


def _means(valid: list[dict[str, float]]) -> dict[str, float]:
    return {metric: round(mean(one[metric] for one in valid), 5) for metric in valid[0]}


if __name__ == "__main__":
    main()
