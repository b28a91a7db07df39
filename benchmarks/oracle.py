"""What knowing the noise would be worth: known false positives get another weight in training.

``--noise_weight=0`` deletes every training target that ``clean_eval`` or a column ``is_noise``
calls noise, ``1`` is plain training by the same way. A finished run lies in ``--output_dir`` and is
not made again. The last line is JSON: for each weight and seed the validation and test metrics.

``python benchmarks/oracle.py --model=SASRec --dataset=ml-latest-small --noise_weight=0,1
--seed=1,2,3 --data_path=DIR --config_files="properties/protocols/autodenoise.yaml
benchmarks/protocols/autodenoise-{model}.yaml" --output_dir=DIR``
"""

from __future__ import annotations

import json
import logging
import sys
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

import recbole_atjt
from recbole_atjt.data.clean import Truth
from recbole_atjt.settings.arguments import parse_arguments
from recbole_atjt.weighting.base import Evidence, NoSettings, Weighting


class Oracle(Weighting):
    """Gives known false positives ``weight``, and 1 to all others."""

    def know(self, noise: Tensor, n_items: int, weight: float) -> None:
        """Take in ``user * n_items + item`` of each false positive, ``[n]``."""
        self.noise, self.n_items, self.weight = noise, n_items, weight

    def weigh(self, evidence: Evidence) -> Tensor:
        """Look up each sequence's target, ``[S]``."""
        noisy = torch.isin(evidence.user * self.n_items + evidence.item, self.noise)
        return torch.where(noisy, self.weight, 1.0)


def main() -> None:
    """Run what is missing, then print all."""
    given = parse_arguments(sys.argv[1:])
    weights, seeds = (given.pop(key).split(",") for key in ("noise_weight", "seed"))
    model, dataset = given.pop("model"), given.pop("dataset")
    files = [name.format(model=model) for name in given.pop("config_files", "").split()]
    folder = Path(given.pop("output_dir"))
    logging.getLogger().addHandler(logging.NullHandler())
    found: dict[str, Any] = {}
    for seed, weight in product(seeds, weights):
        path = folder / f"{model}-{dataset}-{weight}-{seed}.json"
        if not path.exists():
            keys = {**given, "seed": int(seed), "show_progress": False, "weighting": "none"}
            keys["checkpoint_dir"] = str(folder / "checkpoints")
            config = recbole_atjt.DenoisingConfig(model, dataset, files, keys)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(train(config, float(weight))))
        found[f"{weight}/{seed}"] = json.loads(path.read_text())
        print(weight, seed, found[f"{weight}/{seed}"], flush=True)
    print(json.dumps(found))


def train(config: Any, weight: float) -> dict[str, Any]:
    """Train and evaluate one model."""
    plain = recbole_atjt.assemble(config)
    data = plain.train_data._dataset
    rows = data.inter_feat
    true = Truth.of(config, data).holds(rows)
    if true is None:
        raise SystemExit("the data does not know its noise: give clean_eval or a column is_noise")
    user, item = rows[config["USER_ID_FIELD"]], rows[config["ITEM_ID_FIELD"]]
    oracle = Oracle(NoSettings(), item.bincount(minlength=data.item_num))
    oracle.know((user * data.item_num + item)[~true], data.item_num, weight)
    wrapped = recbole_atjt.DenoisingRecommender(plain.model, plain.config, data, oracle)
    trainer = recbole_atjt.DenoisingTrainer(plain.config, wrapped)
    trainer.fit(plain.train_data, plain.valid_data, verbose=False)
    return {
        "noise": float((~true).float().mean()),
        "valid": _numbers(trainer.evaluate(plain.valid_data)),
        "test": _numbers(trainer.evaluate(plain.test_data, load_best_model=False)),
        "best_epoch": trainer.best_epoch,
    }


def _numbers(result: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in result.items()}


if __name__ == "__main__":
    main()
