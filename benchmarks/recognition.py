"""Does the recogniser learn? Weights of original and replaced sequences of users it never saw.

Recognisers are trained alone on user-disjoint groups, as DNR does; then every sequence of a group
and its replaced copy are weighed by the recogniser that never saw the group's users. The last line
is JSON with one entry a setting: AUROC, mean weights, and how much smaller the replaced ones are.

``python benchmarks/recognition.py --dataset=ml-100k --epochs=5``
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from os import chdir
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recbole.utils import init_seed

import recbole_atjt
from recbole_atjt.data.loaders import PhaseLoader
from recbole_atjt.data.user_groups import deal_users
from recbole_atjt.report.weights import measure_weights
from recbole_atjt.weighting.table import build_weighting

KINDS = [
    ("history", "uniform"),
    ("target", "uniform"),
    ("both", "uniform"),
    ("target", "popularity"),
]


def train(config: Any, train_data: Any, kind: tuple[str, str], epochs: int) -> dict[str, Any]:
    """Train the recognisers of one kind of replacement; return what they tell apart."""
    init_seed(config["seed"], True)
    items = train_data._dataset.inter_feat[config["ITEM_ID_FIELD"]]
    users = train_data._dataset.inter_feat[config["USER_ID_FIELD"]]
    keys = {
        "weighting": "dnr",
        "dnr_epochs": epochs,
        "atjt_replace": kind[0],
        "atjt_replace_from": kind[1],
    }
    n_items = train_data._dataset.item_num
    weighting: Any = build_weighting(keys, torch.bincount(items, minlength=n_items))
    groups = deal_users(users, weighting.groups, config["seed"])
    field = config["ITEM_ID_FIELD"]
    loader = PhaseLoader(train_data, groups, field + config["LIST_SUFFIX"], field, False)
    weighting.prepare(loader.other_sequences)
    found = measure_weights(weighting, loader, config["seed"])
    assert found is not None
    original, replaced = found["original"]["mean"], found["replaced"]["mean"]
    return {
        "auroc": round(found["auroc"], 3),
        "original": round(original, 3),
        "replaced": round(replaced, 3),
        "smaller_percent": round((1 - replaced / original) * 100, 1),
    }


def main() -> None:
    """Train for every kind of replacement and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="dataset/")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--length", type=int, default=10, help="items in a history")
    parser.add_argument("--seed", type=int, default=2020)
    args = parser.parse_args()
    given = {
        "MAX_ITEM_LIST_LENGTH": args.length,
        "train_batch_size": 512,
        "data_path": str(Path(args.data_path).resolve()),
        "seed": args.seed,
    }
    chdir(tempfile.mkdtemp())
    logging.getLogger().addHandler(logging.NullHandler())
    config = recbole_atjt.DenoisingConfig("SASRec", args.dataset, None, given)
    train_data = recbole_atjt.assemble(config).train_data
    result = {}
    for kind in KINDS:
        result["/".join(kind)] = train(config, train_data, kind, args.epochs)
        print("/".join(kind), result["/".join(kind)], flush=True)
    print(json.dumps({"dataset": args.dataset, "epochs": args.epochs, **result}))


if __name__ == "__main__":
    main()
