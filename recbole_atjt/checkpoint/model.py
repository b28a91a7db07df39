"""A RecBole model in a checkpoint: its weights and what it keeps beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_atjt.checkpoint.codec import describe
from recbole_atjt.checkpoint.file import Checkpoint, PathLike, save_checkpoint, well_formed
from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.host.extensions import fields_read


def save_model(
    path: PathLike,
    model: nn.Module,
    *,
    meta: Mapping[str, Any],
    optimizers: Mapping[str, Mapping[str, Any]] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a RecBole model with its ``other_parameter``; see `save_checkpoint` for the rest.

    Raises:
        TrainingError: As `save_checkpoint`, and for an ``other_parameter`` that has no safe form.
    """
    meta = {**meta, "other": other_parameters(model)}
    if hasattr(model, "built_for"):
        meta["built_for"] = model.built_for
    save_checkpoint(path, model.state_dict(), meta=meta, optimizers=optimizers, tensors=tensors)


def other_parameters(model: nn.Module) -> dict[str, Any]:
    """Return the tensors, numbers, strings and Nones that a RecBole model keeps beside its weights.

    Modules among them are left out: their weights are in the ``state_dict``.

    Raises:
        TrainingError: A value is of another kind, or a module whose weights would be lost.
    """
    found: dict[str, Any] = {}
    registered = {id(module) for module in model.modules()}
    named: dict[str, Any] = getattr(model, "other_parameter", dict)()
    for name, value in named.items():
        if isinstance(value, nn.Module) and id(value) in registered:
            continue
        if not (value is None or isinstance(value, (Tensor, bool, int, float, str, np.generic))):
            raise TrainingError(
                f"{type(model).__name__} keeps '{name}' ({type(value).__name__}) beside its "
                "weights; a safe checkpoint holds only tensors, numbers, strings and None there"
            )
        found[name] = value
    return found


def load_model(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights and ``other_parameter`` into a model of the same shape.

    Args:
        model: A model built for the same dataset and settings.
        checkpoint: What `load_checkpoint` returned.

    Raises:
        UsageError: Names, shapes or types differ, or the numbers of items stand for others; the
            first difference is named.
    """
    own = model.state_dict()
    for name in [*own, *checkpoint.model_state]:
        ours, theirs = describe(own.get(name)), describe(checkpoint.model_state.get(name))
        if ours != theirs:
            made_by = (
                f"{checkpoint.meta.get('model', '?')} on {checkpoint.meta.get('dataset', '?')}"
            )
            raise UsageError(
                f"the checkpoint was made with {made_by} and does not fit this "
                f"{type(model).__name__}: '{name}' is {theirs} there and {ours} here; "
                "use the same model, dataset and settings"
            )
    with well_formed("the checkpoint"):
        refuse_other_data(model, checkpoint)
        other = dict(checkpoint.meta.get("other", {}))
    model.load_state_dict(checkpoint.model_state)
    device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
    for name, value in other.items():
        setattr(model, name, value.to(device) if isinstance(value, Tensor) else value)


def refuse_other_data(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Refuse weights of another vocabulary or length of histories, which may well fit.

    Raises:
        UsageError: A column that the model reads numbers others, or the length differs.
    """
    then, now = checkpoint.meta.get("built_for"), getattr(model, "built_for", None)
    if not (then and now):
        return
    reads = fields_read(model)
    for name, digest in now["tokens"].items():
        if reads(name) and then["tokens"].get(name) != digest:
            raise UsageError(
                f"the checkpoint was made with {checkpoint.meta.get('dataset', '?')}, in which "
                f"{name} numbers others: its digest is {then['tokens'].get(name)} there and "
                f"{digest} here; use the same files, filters and settings"
            )
    if then["history"] != now["history"]:
        raise UsageError(
            f"the checkpoint was made with MAX_ITEM_LIST_LENGTH={then['history']}, this "
            f"{type(model).__name__} has MAX_ITEM_LIST_LENGTH={now['history']}"
        )
