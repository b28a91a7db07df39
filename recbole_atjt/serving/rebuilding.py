"""A model out of its checkpoint alone, ready to predict."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.checkpoint.file import Checkpoint, load_checkpoint, well_formed
from recbole_atjt.checkpoint.model import load_model
from recbole_atjt.errors import AtjtError, UsageError, in_one_line
from recbole_atjt.model.pointwise import pointwise
from recbole_atjt.model.staged import StagedModel
from recbole_atjt.model.table import find_model, registered_models
from recbole_atjt.randomness import kept
from recbole_atjt.serving.kept import KeptConfig, KeptDataset


@dataclass(frozen=True)
class Rebuilt:
    """A trained model and what was kept beside it.

    Args:
        model: The bare model, on the CPU, in evaluation mode.
        config: Its settings.
        catalogue: What was kept of its data.
        meta: What the checkpoint says of the run.
    """

    model: nn.Module
    config: KeptConfig
    catalogue: Catalogue
    meta: dict[str, Any]


def rebuild(path: str | Path, model: Any = None) -> Rebuilt:
    """Build the model of a checkpoint that a training left, without its data.

    Args:
        path: The checkpoint of a run's best model.
        model: The class of a model from outside, or ``module:Class``; a checkpoint never names
            code to load.

    Raises:
        UsageError: The checkpoint can't be read, is of no whole training or of a model that is not
            known, or has nothing of its data.
    """
    found = load_checkpoint(path)
    with well_formed(path):
        _refuse_unserved(path, found)
        model_class = _class_of(path, found, model)
        values = dict(found.meta["config"])
        config = KeptConfig({**values, "dataset": found.meta["dataset"]}, model_class)
        catalogue = Catalogue.unpacked(found.meta["catalogue"])
        dataset = KeptDataset(config, catalogue)
    built = _built(path, config, dataset)
    if isinstance(built, StagedModel):
        _finish(path, found, built)
    built.built_for = found.meta.get("built_for")
    load_model(built, found)
    return Rebuilt(built.eval().requires_grad_(False), config, catalogue, found.meta)


def _refuse_unserved(path: str | Path, found: Checkpoint) -> None:
    meta = found.meta
    if "catalogue" not in meta:
        if {"rng", "record"} <= meta.keys() and str(path).endswith(".last.safetensors"):
            raise UsageError(
                f"{path} is what a resume reads, and holds no names of items: give the best "
                "model's file beside it, without .last"
            )
        raise UsageError(
            f"{path} holds no names of items: an older recbole_atjt wrote it, or save_checkpoint "
            "did; train again with this one, whose best models keep them"
        )


def _class_of(path: str | Path, found: Checkpoint, given: Any) -> Any:
    name = str(found.meta["model"])
    if isinstance(given, type):
        model_class: Any = given
    elif given is None and name not in registered_models():
        raise UsageError(
            f"{path} is of model={name}, which is none of RecBole's or ours: name its class, as "
            "model=module:Class"
        )
    else:
        model_class = find_model(str(given or name))
    if model_class.__name__ != name:
        raise UsageError(f"{path} is of model={name}, not of {model_class.__name__}")
    is_pointwise = found.meta["config"].get("loss_type") == "BCE"
    return pointwise(model_class) if is_pointwise else model_class


def _built(path: str | Path, config: KeptConfig, dataset: KeptDataset) -> Any:
    try:
        with kept(), redirect_stdout(io.StringIO()):  # some of RecBole's print while they are built
            model: Any = config.model_class(config, dataset)
    except AtjtError:
        raise
    except Exception as error:
        raise UsageError(
            f"{path}: {config['model']} can't be built without its data ({in_one_line(error)})"
        ) from error
    return model


def _finish(path: str | Path, found: Checkpoint, model: StagedModel) -> None:
    stage, last = found.meta.get("stage"), model.stages[-1].name
    if stage is not None and stage["name"] != last:
        raise UsageError(
            f"{path} was kept in stage {stage['name']}, before {last}: resume its training first"
        )
    model.finish_stages()
