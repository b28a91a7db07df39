"""How long a whole run takes, from the atomic file to the metrics on test, against plain RecBole's.

Each variant is a process of its own that prepares the data, trains, evaluates after each epoch and
tests the best model; they run one after another, in rounds. The last line is JSON: seconds of the
clock and of the processor, and their ratios to RecBole as it ships, the medians of the rounds.

Run it as ``python benchmarks/whole_run.py --model=SASRec --weighting=none,atjt --epochs=1``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from ratios import Rounds, ratio

_SHIPPED = "shipped"
#: What ``run_recbole`` does, whose module asks for ray too. Our repairs let RecBole run with the
#: libraries of today; its anomaly detection is on again, and rows are taken as it does.
_PLAIN = """
import sys, json, torch, recbole_atjt
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import init_seed
Interaction.__getitem__ = Interaction.__getitem__.__wrapped__
given, model, dataset = json.loads(sys.argv.pop()), sys.argv.pop(), sys.argv.pop()
torch.autograd.set_detect_anomaly(True)
config = Config(model=model, dataset=dataset, config_dict=given)
init_seed(config["seed"], config["reproducibility"])
train, valid, test = data_preparation(config, create_dataset(config))
trainer = Trainer(config, config.model_class(config, train.dataset).to(config["device"]))
trainer.fit(train, valid, saved=False)
trainer.evaluate(test, load_best_model=False)
"""
_OURS = (
    "import sys, json, recbole_atjt; given = json.loads(sys.argv.pop());"
    "model, dataset = sys.argv.pop(), sys.argv.pop(); sys.argv = sys.argv[:1];"
    "recbole_atjt.run(model=model, dataset=dataset, config_dict=given)"
)


def settings(args: argparse.Namespace, weighting: str) -> dict[str, Any]:
    """Return the keys of a run."""
    given: dict[str, Any] = {
        "epochs": args.epochs,
        "train_batch_size": args.batch,
        "MAX_ITEM_LIST_LENGTH": args.length,
        "train_neg_sample_args": None,
        "show_progress": False,
    }
    if weighting == _SHIPPED:
        return given
    name, _, fast = weighting.partition(":")
    return {**given, "weighting": name, "fast_dropout": fast == "fast"}


def measure(args: argparse.Namespace, weighting: str) -> tuple[float, float]:
    """Run one variant; return seconds of the clock and of the processor."""
    code = _PLAIN if weighting == _SHIPPED else _OURS
    command = [sys.executable, "-c", code, args.dataset, args.model]
    command.append(json.dumps(settings(args, weighting)))
    root = str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        before, start = os.times(), perf_counter()
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": root},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        spent, after = perf_counter() - start, os.times()
    processor = after.children_user + after.children_system
    return spent, processor - before.children_user - before.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="SASRec")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument(
        "--weighting", default="none,atjt", help="strategies; NAME:fast is with fast_dropout"
    )
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--length", type=int, default=50, help="items in a history")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    names = [_SHIPPED, *args.weighting.split(",")]
    spent: dict[str, Rounds] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            spent[name].append(measure(args, name))
            print(f"{name:14s} {spent[name][-1][0]:8.1f} s, {spent[name][-1][1]:8.1f} s processor")
    result: dict[str, Any] = {
        name: {
            "seconds": [round(median(each), 1) for each in zip(*spent[name])],
            "vs_shipped": [ratio(spent[name], spent[_SHIPPED], kind) for kind in (0, 1)],
        }
        for name in names
    }
    print(json.dumps({**result, **vars(args)}))


if __name__ == "__main__":
    main()
