"""The seam: per-sample losses out of any RecBole model, for the length of a ``with`` block."""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_atjt.adapters import find_adapter, substituted
from recbole_atjt.errors import UsageError
from recbole_atjt.per_sample import KNOWN_TYPES, is_known_function, unreduced
from recbole_atjt.reduction import Record, Reducer

#: Names that RecBole's models give their main criterion.
_MAIN_NAMES = ("loss_fct", "loss", "loss_fn", "bpr_loss")
#: An attribute so named holds an extra term: a regulariser or a contrastive loss.
_EXTRA_NAME = re.compile(r"(^|_)(reg|emb|aug|nce|ssl|aux|kl)(_|$)|_reg|^reg")


class Seam:
    """Where a model's main loss can be weighted sample by sample.

    The model's criterion is found by RecBole's conventions: the attribute that the model names in
    ``main_criterion`` if it does, else an attribute ``loss_fct``, ``loss``, ``loss_fn`` or
    ``bpr_loss``, else the only attribute that holds a loss of torch or RecBole. Models that hide
    their loss from this go through an adapter (:mod:`recbole_atjt.adapters`).

    Args:
        model: A RecBole model.

    Raises:
        UsageError: The model hides its loss.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.name = type(model).__name__
        self._main: str = getattr(model, "main_criterion", None) or ""
        self._adapter = None if self._main else find_adapter(model)
        if not self._main and self._adapter is None:
            self._main = find_criterion(model)

    @contextmanager
    def reducing(self, weigh: Callable[[Tensor], Tensor], rows: int) -> Iterator[Record]:
        """Let ``model.calculate_loss(batch)`` in the block return its weighted loss.

        The main loss of each row is weighted; regularisers and contrastive terms are not. Outside
        the block the model is as it was.

        Args:
            weigh: Gives weights ``[rows]`` for the losses ``[rows]``, which carry their graph.
            rows: ``len(batch)``.

        Yields:
            The record, filled by ``calculate_loss``.

        Raises:
            UsageError: No loss came by, or one that has not exactly ``rows`` entries.
            TrainingError: A weight is negative or not finite.
        """
        reducer = Reducer(self.name, weigh, rows)
        if self._adapter is not None:
            swapping = self._adapter.swapping(self.model, reducer)
        else:
            swapping = weighting(self.model, self._main, reducer)
        with swapping:
            yield reducer.record
        if not reducer.record.calls:
            raise UsageError(_hides_its_loss(self.name))


@contextmanager
def weighting(model: nn.Module, name: str, reducer: Reducer) -> Iterator[None]:
    """Swap the criterion ``model.name`` for one that weighs its losses before it reduces them."""
    criterion = getattr(model, name)
    if isinstance(getattr(criterion, "__self__", criterion), _Weighted):
        raise RuntimeError(f"the seam of {type(model).__name__} is in use already")
    weighted = _Weighted(criterion, reducer)
    is_module = isinstance(criterion, nn.Module)
    with substituted(model, name, weighted if is_module else weighted.forward):
        yield


class _Weighted(nn.Module):
    def __init__(self, criterion: Callable[..., Tensor], reducer: Reducer) -> None:
        super().__init__()
        vars(self)["criterion"] = criterion  # not as a child: no part of the model's state
        self.reducer = reducer

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return a scalar, or weighted elements where the original leaves the mean to the model."""
        rows = self.reducer.rows
        losses, share, reduction = unreduced(self.criterion, rows, args, kwargs)
        loss = losses.flatten() if losses.shape[:1] == (rows,) else losses
        if reduction == "none":
            return losses * self.reducer.weigh(loss).view_as(losses)
        if reduction == "sum":
            share = torch.full_like(loss, rows)
        return self.reducer(loss, share)


def find_criterion(model: nn.Module) -> str:
    """Return the name of the attribute that holds the model's main criterion.

    Raises:
        UsageError: There is none, or more than one could be it.
    """
    attributes = [*model._modules.items(), *vars(model).items()]
    known = [name for name, value in attributes if _is_criterion(name, value)]
    found = [name for name in _MAIN_NAMES if name in known] or known
    if not found:
        raise UsageError(_hides_its_loss(type(model).__name__))
    if len(found) > 1:
        raise UsageError(
            f"model={type(model).__name__} has several criteria ({', '.join(found)}): name the "
            "main one in its attribute main_criterion"
        )
    return found[0]


def _is_criterion(name: str, value: Any) -> bool:
    if _EXTRA_NAME.search(name):
        return False
    named = name in _MAIN_NAMES and isinstance(value, nn.Module)
    return named or isinstance(value, KNOWN_TYPES) or is_known_function(value)


def _hides_its_loss(name: str) -> str:
    return (
        f"model={name} hides its loss, so it can't be weighted: keep the main criterion in an "
        "attribute such as loss_fct, or register an adapter (recbole_atjt.adapters)"
    )


def verify_seam(model: Any, batch: Any) -> None:
    """Check on one batch that the model's loss is weighted as it should be, before training.

    With weights of 1 the loss is the raw one, it changes with the weights, and it is linear in
    them. The random state, the model with its buffers, and ``batch`` are as before afterwards.
    A batch whose loss is not finite or zero for all rows shows nothing and passes.

    Args:
        model: A RecBole model, on the device of ``batch``.
        batch: One training batch, ``len(batch)`` rows.

    Raises:
        UsageError: The model hides its loss, or part of it.
    """
    seam, kept = Seam(model), _Snapshot(model)

    def plain() -> float:
        own = copy.copy(batch)
        own.interaction = dict(batch.interaction)  # FEARec adds columns to its batch
        loss = model.calculate_loss(own)
        return float(sum(loss)) if isinstance(loss, tuple) else float(loss)

    def weighted(weight: float) -> float:
        with seam.reducing(lambda loss: torch.full_like(loss, weight), len(batch)) as record:
            total = plain()
        losses.append(record.loss)
        kept.restore()
        return total

    losses: list[Tensor | None] = []
    try:
        with torch.no_grad():
            raw = plain()
            kept.restore()
            zero, one, two = weighted(0.0), weighted(1.0), weighted(2.0)
    finally:
        kept.restore()
    if not math.isfinite(raw) or not any(loss is not None and bool(loss.any()) for loss in losses):
        return
    scale = max(abs(raw), abs(zero))
    slack = 1e-4 * abs(one - zero) + 1e-5 * scale
    for holds, problem in (
        (abs(one - raw) <= slack, f"with unit weights it is {one:.6g} instead of {raw:.6g}"),
        (abs(one - zero) > 1e-7 * scale, "weights do not change it"),
        (abs(two - one - (one - zero)) <= 2 * slack, "it is not linear in the weights"),
    ):
        if not holds:
            raise UsageError(f"model={seam.name} computes a loss that can't be weighted: {problem}")


class _Snapshot:
    """The random state, and a model's attributes and buffers, to go back to."""

    def __init__(self, model: nn.Module) -> None:
        self._random = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._modules = [
            (module, dict(vars(module)), dict(module._buffers)) for module in model.modules()
        ]
        self._values = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        self._containers = [
            (value, copy.copy(value))
            for _, attributes, _ in self._modules
            for name, value in attributes.items()
            if isinstance(value, (list, dict, np.ndarray)) and not name.startswith("_")
        ]

    def restore(self) -> None:
        """Put all back."""
        python, numpy, cpu = self._random
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        for module, attributes, buffers in self._modules:
            vars(module).clear()
            vars(module).update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        with torch.no_grad():
            for buffer, value in self._values:
                buffer.copy_(value)
        for container, content in self._containers:
            if isinstance(container, dict):
                container.clear()
                container.update(content)
            else:
                container[:] = content
