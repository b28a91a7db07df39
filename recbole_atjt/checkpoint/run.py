"""The state of a training run: kept with the best model, taken up again exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from recbole_atjt.checkpoint.file import Checkpoint, load_checkpoint
from recbole_atjt.checkpoint.model import save_model
from recbole_atjt.checkpoint.settings import refuse_other_training
from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import plain_config

_WEIGHTING = "weighting."


@dataclass(frozen=True)
class TrainingState:
    """What a training needs to go on, beside the model's own state.

    Attributes:
        epoch: The last epoch that was trained.
        cur_step: Validations without a better one.
        best_valid_score: Best validation score so far.
        optimizer: State of the optimiser.
        weighting: State of the strategy; empty in plain training.
        rng: States of all random generators.
        stage: Stage of a model that is trained in stages, else None.
        data: Digest of the training data's rows.
        record: What was noted of the epochs so far.
        inside: Where the epoch after the last one is, if it was begun; else None.
        mask: Which clicks are left out of histories, with a digest of all clicks; else None.
        first_rng: States of all random generators before anything was trained, where training may
            begin again; else None.
    """

    epoch: int
    cur_step: int
    best_valid_score: float
    optimizer: Mapping[str, Any]
    weighting: Mapping[str, Tensor]
    rng: Mapping[str, Any]
    stage: Mapping[str, Any] | None = None
    data: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    inside: Mapping[str, Any] | None = None
    mask: Mapping[str, Any] | None = None
    first_rng: Mapping[str, Any] | None = None


def save_training(
    path: str,
    config: Any,
    model: nn.Module,
    state: TrainingState,
    catalogue: Mapping[str, Any] | None = None,
) -> None:
    """Write a model and all that an exact resume needs.

    Args:
        path: Where the checkpoint goes.
        config: The run's config.
        model: The bare model.
        state: The rest of the run.
        catalogue: What the model needs to serve, packed; a file that only a resume reads has none.
    """
    save_model(
        path,
        model,
        meta={
            "model": config["model"],
            "dataset": config["dataset"],
            "weighting": config["weighting"] or "none",
            "epoch": state.epoch,
            "stage": state.stage,
            "cur_step": state.cur_step,
            "best_valid_score": state.best_valid_score,
            "config": plain_config(config),
            "rng": state.rng,
            "data": state.data,
            "record": state.record,
            **({} if catalogue is None else {"catalogue": catalogue}),
            "inside": state.inside,
            **({} if state.mask is None else {"history_mask": state.mask}),
            **({} if state.first_rng is None else {"first_rng": state.first_rng}),
        },
        optimizers={"trainer": state.optimizer},
        tensors={f"{_WEIGHTING}{name}": value for name, value in state.weighting.items()},
    )


def load_training(
    path: str, config: Any, model: nn.Module, data: str, device: Any
) -> tuple[Checkpoint, TrainingState]:
    """Read what :func:`save_training` wrote, and check that it is of this run.

    Args:
        path: The checkpoint.
        config: This run's config.
        model: This run's bare model.
        data: Digest of this run's training data.
        device: Where tensors go.

    Raises:
        UsageError: The checkpoint is of another model, weighting, settings or data, or of no
            training.
    """
    found = load_checkpoint(path, device=device)
    meta = found.meta
    for key, value in {
        "model": config["model"],
        "weighting": config["weighting"] or "none",
    }.items():
        if meta.get(key) != value:
            raise UsageError(
                f"checkpoint {path} is of {key}={meta.get(key)}, this run is {key}={value}"
            )
    if "rng" not in meta or "trainer" not in found.optimizers:
        raise UsageError(f"checkpoint {path} holds a model, but no training run to resume")
    refuse_other_training(path, meta["config"], config, model)
    if meta["data"] != data:
        raise UsageError(
            f"checkpoint {path} was trained on other interactions of {meta['dataset']}: their "
            f"digest is {meta['data']} there and {data} here; use the same files"
        )
    tensors = found.tensors.items()
    cut = len(_WEIGHTING)
    return found, TrainingState(
        epoch=meta["epoch"],
        cur_step=meta["cur_step"],
        best_valid_score=meta["best_valid_score"],
        optimizer=found.optimizers["trainer"],
        weighting={key[cut:]: value for key, value in tensors if key.startswith(_WEIGHTING)},
        rng=meta["rng"],
        stage=meta.get("stage"),
        data=data,
        record=meta["record"],
        inside=meta.get("inside"),
        mask=meta.get("history_mask"),
        first_rng=meta.get("first_rng"),
    )
