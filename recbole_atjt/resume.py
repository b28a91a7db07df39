"""The state of a training run: kept with the best model, taken up again exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recbole_atjt.checkpoint import (
    Checkpoint,
    capture_rng,
    load_checkpoint,
    load_model,
    plain_config,
    restore_rng,
    save_model,
)
from recbole_atjt.errors import UsageError
from recbole_atjt.settings import read_settings

if TYPE_CHECKING:
    from recbole_atjt.trainer import DenoisingTrainer


def save_training(path: str, trainer: DenoisingTrainer, epoch: int) -> None:
    """Write the model and all that an exact resume needs.

    Args:
        path: Where the checkpoint goes.
        trainer: A trainer at the end of ``epoch``.
        epoch: The epoch whose model is kept.
    """
    meta = {
        "model": trainer.config["model"],
        "dataset": trainer.config["dataset"],
        "weighting": trainer.config["weighting"] or "none",
        "epoch": epoch,
        "stage": trainer.stage_state(),
        "cur_step": trainer.cur_step,
        "best_valid_score": trainer.best_valid_score,
        "config": plain_config(trainer.config),
        "rng": capture_rng(_generators(trainer)),
    }
    save_model(
        path,
        trainer.bare_model,
        meta=meta,
        optimizers={"trainer": trainer.optimizer.state_dict()},
        tensors=_weighting_state(trainer),
    )


def resume_training(path: str, trainer: DenoisingTrainer, train_data: Any) -> None:
    """Set a fresh trainer to where :func:`save_training` found one.

    Args:
        path: The checkpoint.
        trainer: A trainer of the same model, data and settings.
        train_data: The training loader it will be fitted on.

    Raises:
        UsageError: The checkpoint is of another model, weighting or settings, or of no training.
    """
    found = load_checkpoint(path, device=trainer.device)
    wanted = {"model": trainer.config["model"], "weighting": trainer.config["weighting"] or "none"}
    for key, value in wanted.items():
        if found.meta.get(key) != value:
            raise UsageError(
                f"checkpoint {path} is of {key}={found.meta.get(key)}, this run is {key}={value}"
            )
    if "rng" not in found.meta or "trainer" not in found.optimizers:
        raise UsageError(f"checkpoint {path} holds a model, but no training run to resume")
    _refuse_other_settings(path, trainer, found.meta["config"])
    load_model(trainer.bare_model, found)
    _load_weighting(trainer, found)
    trainer.resume_stage(found.meta.get("stage"))
    trainer.optimizer.load_state_dict(found.optimizers["trainer"])
    trainer.start_epoch = found.meta["epoch"] + 1
    trainer.best_epoch = found.meta["epoch"]
    trainer.cur_step = found.meta["cur_step"]
    trainer.best_valid_score = found.meta["best_valid_score"]
    trainer.phases(train_data)
    restore_rng(found.meta["rng"], _generators(trainer))


def _refuse_other_settings(path: str, trainer: DenoisingTrainer, config: Any) -> None:
    """Refuse an optimiser's or a weighting's state that this run could not go on from."""
    then, now = {"learner": config["learner"]}, {"learner": trainer.config["learner"]}
    check = getattr(trainer.bare_model, "check_settings", None)
    if check is not None:
        then.update(asdict(check(config)))
        # Stages may be made longer, as a training may.
        now.update({k: v for k, v in asdict(check(trainer.config)).items() if "epochs" not in k})
    if trainer.weighting is not None:
        then.update(asdict(read_settings(config)))
        now.update(asdict(trainer.weighting.settings))
    for key, value in now.items():
        if then[key] != value:
            raise UsageError(
                f"checkpoint {path} was trained with {key}={then[key]}, this run has {key}={value}"
            )


def _generators(trainer: DenoisingTrainer) -> Mapping[str, torch.Generator]:
    loader = trainer.loader
    generator = getattr(loader, "generator", None)
    return {"loader": generator} if isinstance(generator, torch.Generator) else {}


def _weighting_state(trainer: DenoisingTrainer) -> dict[str, Tensor]:
    if trainer.weighting is None:
        return {}
    return {f"weighting.{k}": v for k, v in trainer.weighting.state_dict().items()}


def _load_weighting(trainer: DenoisingTrainer, found: Checkpoint) -> None:
    if trainer.weighting is not None:
        prefix = "weighting."
        state = {k[len(prefix) :]: v for k, v in found.tensors.items() if k.startswith(prefix)}
        trainer.weighting.load_state_dict(state)
