"""AEL beside MultiDAE and CDAE, its own parents and their plain average, over several seeds.

AEL is trained once for each dataset and seed. Its parents and their average are read from that
training: each parent alone is the very same model, since its stages come first and later ones leave
it frozen. A call that is repeated goes on where the last one stopped: a training whose
``figures.json`` lies in ``--output_dir`` is not run again. The last line is JSON: for each dataset
and model the mean and standard deviation of every test metric, and of the metric that selects
epochs on validation.

``python benchmarks/autoencoders.py --dataset=ml-100k-graded,modcloth --seed=1,2,3 --data_path=DIR
--output_dir=DIR``
"""

from __future__ import annotations

import json
import os
import sys
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


import recbole_atjt
from recbole_atjt.model.ael_settings import PARENTS
from recbole_atjt.settings.arguments import parse_arguments

PROTOCOLS = Path(__file__).resolve().parent / "protocols"
MODELS = "MultiDAE,CDAE,AEL"
READINGS = (*PARENTS, "average", "gate")


def main() -> None:
    """Train what is missing, then print a table and its JSON."""
    given = parse_arguments(sys.argv[1:])
    datasets, seeds = (given.pop(key).split(",") for key in ("dataset", "seed"))
    models = given.pop("model", MODELS).split(",")
    folder = Path(given.pop("output_dir"))
    found: dict[str, list[dict[str, Any]]] = {}
    for dataset, seed, model in product(datasets, seeds, models):
        cell = folder / f"{model}-{dataset}-{seed}"
        file = cell / "figures.json"
        if not file.exists():
            figures = measure(model, dataset, int(seed), given, cell)
            file.with_suffix(".tmp").write_text(json.dumps(figures))
            os.replace(file.with_suffix(".tmp"), file)
        for name, figures in json.loads(file.read_text()).items():
            found.setdefault(f"{dataset} {name}", []).append(figures)
    summary = {name: summarise(runs) for name, runs in found.items()}
    print(table(summary))
    print(json.dumps(summary))


def measure(
    model: str, dataset: str, seed: int, given: dict[str, Any], cell: Path
) -> dict[str, dict[str, Any]]:
    """Train a model once; return validation and test metrics of each of its readings by name."""
    files = [str(PROTOCOLS / f"autoencoders-{dataset}.yaml")]
    keys = {"show_progress": False, **given}
    (run,) = recbole_atjt.run(model, dataset, "none", seed, files, keys, cell).runs
    whole = {"valid": run.valid, "test": run.test, "gate": run.gate, "seconds": run.seconds}
    if model != "AEL":
        return {model: whole}
    readings = read_combinations(run, files, keys)
    if readings["gate"] != {"valid": run.valid, "test": run.test}:
        raise AssertionError(f"the kept model of {cell} does not give the figures of its run")
    return {
        f"AEL {name}": {**whole, **reading, "gate": run.gate if name == "gate" else None}
        for name, reading in readings.items()
    }


def read_combinations(run: Any, files: list[str], keys: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a finished AEL as each parent alone, as their average and as the gate has it."""
    config = recbole_atjt.DenoisingConfig(
        "AEL", run.dataset, files, {**keys, "weighting": "none", "seed": run.seed}
    )
    ready = recbole_atjt.assemble(config)
    found = {}
    for name in READINGS:
        ready.model.combine = name
        valid, test = (
            {
                key: float(value)
                for key, value in ready.trainer.evaluate(part, model_file=run.checkpoint).items()
            }
            for part in (ready.valid_data, ready.test_data)
        )
        found[name] = {"valid": valid, "test": test}
    return found


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation of the metrics of several seeds, and the gate's shares."""
    selecting = list(runs[0]["valid"])[-1]
    columns = {f"valid {selecting}": [run["valid"][selecting] for run in runs]}
    columns.update({key: [run["test"][key] for run in runs] for key in runs[0]["test"]})
    figures: dict[str, Any] = {
        key: [round(mean(values), 5), round(stdev(values), 5) if len(values) > 1 else 0.0]
        for key, values in columns.items()
    }
    if runs[0]["gate"]:
        figures["gate"] = {
            name: round(mean(run["gate"][name] for run in runs), 4) for name in runs[0]["gate"]
        }
    return {**figures, "train_seconds": round(mean(run["seconds"]["train"] for run in runs))}


def table(summary: dict[str, dict[str, Any]]) -> str:
    """Return the summary as rows of a Markdown table."""
    keys = [key for key, value in next(iter(summary.values())).items() if isinstance(value, list)]
    rows = [["", *keys], ["---"] * (len(keys) + 1)]
    rows += [
        [name, *("{:.4f} ± {:.4f}".format(*figures[key]) for key in keys)]
        for name, figures in summary.items()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
