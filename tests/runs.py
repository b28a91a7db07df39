"""Short training runs on the tiny dataset, ours and RecBole's own."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed
from torch import Tensor

import recbole_atjt
from recbole_atjt import DenoisingConfig, DenoisingTrainer, assembly
from recbole_atjt.report.folder import new_folder
from recbole_atjt.report.result import RunResult
from tests.models import SMALL, data_path

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
#: What a recogniser needs to be small.
SMALL_RECOGNIZER = {
    "atjt_evidence": "own",
    "atjt_recognizer_embedding_size": 8,
    "atjt_recognizer_attention_hidden_size": 8,
    "atjt_recognizer_output_hidden_sizes": [8, 8],
}


def settings(**changes: Any) -> dict[str, Any]:
    """Return keys of a short run; RecBole and this package read them alike."""
    return {
        **SMALL,
        **SMALL_RECOGNIZER,
        "data_path": data_path(),
        "load_col": {
            "inter": ["user_id", "item_id", "timestamp"],
            "item": ["item_id", "release_year", "class"],
        },
        "epochs": 2,
        "train_batch_size": 64,
        "learning_rate": 0.01,
        "MAX_ITEM_LIST_LENGTH": 10,
        "eval_args": {**LEAVE_ONE_OUT, "mode": "full"},
        "metrics": ["Hit", "NDCG"],
        "topk": [5, 10],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 10,
        "seed": 7,
        "show_progress": False,
        "gpu_id": "",
        **changes,
    }


def own_files(**changes: Any) -> dict[str, Any]:
    """Return keys of an epoch of a tiny model on files that a test writes below ``data/``."""
    return {
        "data_path": "data",
        "eval_args": {**LEAVE_ONE_OUT, "mode": "full"},
        "metrics": ["Hit"],
        "topk": [2],
        "valid_metric": "Hit@2",
        "epochs": 1,
        "embedding_size": 4,
        "hidden_size": 4,
        "num_layers": 1,
        "show_progress": False,
        **changes,
    }


@dataclass
class Trained:
    """What a training left, for comparison.

    Args:
        losses: Train loss of each epoch.
        final: Parameters after the last epoch.
        valid: Validation metrics of the best epoch.
        test: Test metrics of the best epoch's model.
    """

    losses: dict[int, float]
    final: dict[str, Tensor]
    valid: dict[str, float]
    test: dict[str, float]


def train_with_recbole(model: str, keys: dict[str, Any]) -> Trained:
    """Train as RecBole's ``run_recbole`` does, in its order of seeding, without its checkpoint."""
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model=model, dataset="tiny", config_dict=copy.deepcopy(keys))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    built = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = Trainer(config, built)
    best: dict[str, Any] = {"score": float("-inf")}

    def keep_best(epoch: int, score: float) -> None:
        if score >= best["score"]:
            best.update(score=score, state=copy.deepcopy(built.state_dict()))

    trainer.fit(train_data, valid_data, saved=False, verbose=False, callback_fn=keep_best)
    final = copy.deepcopy(built.state_dict())
    built.load_state_dict(best["state"])
    valid = dict(trainer.evaluate(valid_data, load_best_model=False))
    test = dict(trainer.evaluate(test_data, load_best_model=False))
    return Trained(trainer.train_loss_dict, final, valid, test)


@contextmanager
def captured_trainers() -> Iterator[list[Any]]:
    """Collect the trainers of ``run`` as ``fit`` left them."""
    found: list[Any] = []

    def capturing(model: Any) -> Any:
        class Capturing(chosen(model)):
            final: dict[str, Tensor]

            def fit(self, *args: Any, **kwargs: Any) -> Any:
                try:
                    return super().fit(*args, **kwargs)
                finally:
                    self.final = copy.deepcopy(self.bare_model.state_dict())
                    found.append(self)

        return Capturing

    chosen = assembly.trainer_class
    with mock.patch.object(assembly, "trainer_class", capturing):
        yield found


def train(
    model: Any, weighting: str, out: str | None = None, **changes: Any
) -> tuple[RunResult, Any]:
    """Run the package once, by default into a folder of its own; return result and trainer."""
    keys = settings(**changes)
    folder = new_folder(Path("out")) if out is None else out
    with captured_trainers() as found:
        result = recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir=folder)
    return result.runs[0], found[0]


def assemble(model: str, **changes: Any) -> tuple[DenoisingConfig, tuple[Any, Any, Any], Any]:
    """Return config, loaders and (where it is weighted) wrapped model of a short run."""
    config = DenoisingConfig(model, "tiny", config_dict=settings(**changes))
    ready = recbole_atjt.assemble(config)
    return ready.config, (ready.train_data, ready.valid_data, ready.test_data), ready.model


class Rising(DenoisingTrainer):
    """Finds each epoch better than the one before, so that each is saved."""

    valid_data: Any

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        _, result = super()._valid_epoch(*args, **kwargs)
        return float(self.epoch), result


def fit(epochs: int, resume: str | None = None, **changes: Any) -> Any:
    """Train SASRec, or go on from a checkpoint; return the trainer."""
    config, (train_data, valid_data, _), model = assemble("SASRec", epochs=epochs, **changes)
    trainer = Rising(config, model)
    if resume:
        torch.manual_seed(12345)  # a new process knows nothing of the old one's random state
        trainer.resume_checkpoint(resume, train_data)
    trainer.valid_data = valid_data
    trainer.fit(train_data, valid_data, verbose=False)
    return trainer


def options(values: dict[str, Any]) -> list[str]:
    """Write settings as options of the command line; None leaves a key out."""
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in values.items()
        if value is not None
    ]


def arguments(**changes: Any) -> list[str]:
    """Return the command line of a short run; None leaves a key out."""
    values = {
        **settings(epochs=1),
        "model": "SASRec",
        "dataset": "tiny",
        "weighting": "atjt",
        "output_dir": "out",
        **changes,
    }
    return options(values)
