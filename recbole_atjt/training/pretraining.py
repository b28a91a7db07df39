"""S3Rec's first stage: it runs by itself, is kept, and the second stage starts from it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.checkpoint.model import refuse_other_data, save_model
from recbole_atjt.host.plain import plain_config, with_values
from recbole_atjt.host.screen import shows_progress
from recbole_atjt.host.traits import traits_of
from recbole_atjt.host.vocabulary import interactions_of, vocabulary_of
from recbole_atjt.training.trainer import DenoisingTrainer
from recbole_atjt.weighting.keys import explained_keys

_NOT_OF_THE_STAGE = {"train_stage", "pre_model_path", "checkpoint_dir", "epochs", "show_progress"}


def needs_pretraining(config: Any) -> bool:
    """Whether this model has a pretraining stage that was not run yet."""
    return traits_of(config.model_class).is_pretrained and not config["pre_model_path"]


def is_pretrained(config: Any, path: Path, train_data: Any) -> bool:
    """Whether ``path`` holds a pretrained model of the same settings and data."""
    if not path.is_file():
        return False
    meta = load_checkpoint(path).meta
    if meta.get("data") != _data(train_data):
        return False
    kept, wanted = meta["config"], plain_config(config)
    ours = {item.key for item in explained_keys()}
    return all(
        kept.get(key) == wanted.get(key) for key in {*kept, *wanted} - ours - _NOT_OF_THE_STAGE
    )


def _data(train_data: Any) -> dict[str, Any]:
    dataset = train_data._dataset
    return {"rows": interactions_of(dataset), "tokens": vocabulary_of(dataset)}


def pretrain(config: Any, train_data: Any, path: Path) -> None:
    """Train ``pretrain_epochs`` epochs of the four self-supervised tasks and keep the model.

    Args:
        config: A config whose ``train_stage`` is ``pretrain``.
        train_data: The training loader.
        path: Where the checkpoint goes.
    """
    logger = logging.getLogger()
    logger.info(f"{config['model']}: {config['pretrain_epochs']} epochs of pretraining")
    model = config.model_class(config, train_data._dataset).to(config["device"])
    trainer = DenoisingTrainer(with_values(config, weighting="none"), model)
    trainer.epochs = config["pretrain_epochs"]
    trainer.fit(train_data, saved=False, show_progress=shows_progress(config))
    meta = {key: config[key] for key in ("model", "dataset", "seed")}
    meta["data"] = _data(train_data)
    save_model(path, model, meta={**meta, "stage": "pretrain", "config": plain_config(config)})
    logger.info(f"{config['model']}: pretrained model kept in {path}")


def build_pretrained(config: Any, dataset: Any) -> AbstractRecommender:
    """Build the second stage's model from a pretrained checkpoint.

    RecBole's constructor reads the pretrained model itself, with ``torch.load``; it gets the
    weights in a throw-away file that holds tensors only.

    Args:
        config: A config whose ``train_stage`` is ``finetune`` and whose ``pre_model_path`` is a
            checkpoint of :func:`pretrain`.
        dataset: The training dataset.
    """
    loaded = load_checkpoint(config["pre_model_path"])
    with _as_torch_file(loaded.model_state) as readable:
        model = config.model_class(with_values(config, pre_model_path=readable), dataset)
    refuse_other_data(model, loaded)
    return model


@contextmanager
def _as_torch_file(state: Mapping[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        readable = str(Path(folder) / "pretrained.pth")
        torch.save({"state_dict": state}, readable)
        yield readable
