"""How long an epoch with each strategy takes, as a ratio against plain RecBole 1.2.1.

All variants train in this one process, in interleaved rounds of a few batches each, since the
machine is noisy; the median round counts. The last line is JSON, for each strategy:

* ``vs_shipped``: against RecBole as it ships, with autograd's anomaly mode on,
* ``vs_plain``: against RecBole with anomaly mode off; both take rows as RecBole does,
* ``vs_none``: against this package's ``none``, the plain training of the same model on the same
  data; RecBole itself gives context-aware models no histories.

Run it as ``python benchmarks/epoch_ratio.py --model=SASRec --batch=256 --weighting=atjt,t_ce``.
RecBole has no MF; for it ``vs_none`` alone is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from os import chdir
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ratios import Rounds, ratio
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import InputType, ModelType, init_seed

import recbole_atjt
from recbole_atjt.model.table import find_model

#: How rows are taken of columns: by our repair, or (``__wrapped__``) by RecBole.
TAKE_ROWS: Any = Interaction.__getitem__


class FirstBatches:
    """The first batches of a loader, as a loader."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count = loader, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.count)

    def epoch(self, order: Any) -> FirstBatches:
        """Return the first batches of an epoch, where the loader has phases."""
        return FirstBatches(self.loader.epoch(order), self.count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class Variant:
    """One way to train, timed by the batch."""

    def __init__(
        self, trainer: Any, loader: Any, anomaly: bool = False, repaired: bool = True
    ) -> None:
        self.trainer, self.loader, self.anomaly = trainer, loader, anomaly
        self.take_rows = TAKE_ROWS if repaired else TAKE_ROWS.__wrapped__
        #: Of each round: seconds of the clock and of the processor that an epoch would take.
        self.rounds: Rounds = []

    def train(self, steps: int) -> None:
        """Train a few batches with RecBole's own loop and note the time of an epoch."""
        loader = getattr(self.trainer, "loader", None) or self.loader
        steps = min(steps, len(loader))
        self.trainer.loader = FirstBatches(loader, steps)
        torch.autograd.set_detect_anomaly(self.anomaly)
        Interaction.__getitem__ = self.take_rows
        clock, processor = perf_counter(), process_time()
        self.trainer._begins_again = False  # epoch by epoch of one training, not by its loop
        self.trainer._train_epoch(self.trainer.loader, 0)
        spent = perf_counter() - clock, process_time() - processor
        self.rounds.append(tuple(each / steps * len(loader) for each in spent))
        torch.autograd.set_detect_anomaly(False)
        self.trainer.loader = loader


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys that all variants share."""
    given: dict[str, Any] = {
        "train_batch_size": args.batch,
        "MAX_ITEM_LIST_LENGTH": args.length,
        "show_progress": False,
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": "uni100",
        },
        "repeatable": True,
        "data_path": args.data_path,
        "metrics": ["Hit"],
        "valid_metric": "Hit@10",
    }
    model = find_model(args.model)
    kind, loss = model.type, getattr(model, "input_type", None)
    if kind == ModelType.CONTEXT:
        given["threshold"] = None
        given["mlp_hidden_size"] = [256, 128]
    if kind == ModelType.SEQUENTIAL and loss != InputType.POINTWISE:
        given["train_neg_sample_args"] = None
    else:
        given["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    return given


def plain(args: argparse.Namespace) -> tuple[Any, Any]:
    """Build plain RecBole: its config, its data, its trainer."""
    sys.argv = sys.argv[:1]
    config = Config(model=args.model, dataset=args.dataset, config_dict=settings(args))
    init_seed(config["seed"], True)
    train_data, _, _ = data_preparation(config, create_dataset(config))
    model = config.model_class(config, train_data._dataset).to(config["device"])
    return Trainer(config, model), train_data


def ours(args: argparse.Namespace, weighting: str) -> tuple[Any, Any]:
    """Build the same training through this package."""
    given = {**settings(args), "weighting": weighting, "atjt_groups": args.groups}
    given["fast_dropout"] = args.fast_dropout
    config = recbole_atjt.DenoisingConfig(args.model, args.dataset, None, given)
    ready = recbole_atjt.assemble(config)
    return ready.trainer, ready.trainer.loader_of(ready.train_data)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="SASRec")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="dataset/")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=50, help="items in a history")
    parser.add_argument("--weighting", default="atjt", help="strategies, separated by commas")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fast_dropout", action="store_true")
    parser.add_argument("--at_rest", action="store_true", help="as after two epochs without noise")
    args = parser.parse_args()
    args.data_path = str(Path(args.data_path).resolve())
    chdir(tempfile.mkdtemp())
    logging.getLogger().addHandler(logging.NullHandler())
    names = args.weighting.split(",")
    variants = {name: Variant(*ours(args, name)) for name in ["none", *names]}
    for name in names if args.at_rest else []:
        mixture = variants[name].trainer.model.weighting.mixture
        mixture.looking.quiet.fill_(2)
        mixture.settled.value.fill_(0.0)
    if find_model(args.model).__module__.startswith("recbole."):
        variants["shipped"] = Variant(*plain(args), anomaly=True, repaired=False)
        variants["plain"] = Variant(*plain(args), repaired=False)
    for round_number in range(args.rounds + 1):
        for variant in variants.values():
            variant.train(args.steps if round_number else 2)
    spent = {name: variant.rounds[1:] for name, variant in variants.items()}
    for name, rounds in spent.items():
        clock, processor = (median(each) for each in zip(*rounds))
        print(f"{name:14s} {clock:8.2f} s an epoch, {processor:8.2f} s of the processor")
    result: dict[str, Any] = {
        name: {
            f"vs_{base}": [ratio(spent[name], spent[base], kind) for kind in (0, 1)]
            for base in ("shipped", "plain", "none")
            if base in spent
        }
        for name in names
    }
    result.update(model=args.model, batch=args.batch, length=args.length, groups=args.groups)
    result.update(fast_dropout=args.fast_dropout, threads=torch.get_num_threads())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
