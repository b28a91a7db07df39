"""Check on one batch that a model's loss is weighted as it should be."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.randomness import capture_rng, restore_rng
from recbole_atjt.seam.criterion import Seam


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
        self._random = capture_rng()
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
        restore_rng(self._random)
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
