"""A recommender's first parameters, to which training may return."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Beginning:
    """The state of a model and of its optimiser before anything was trained.

    It is kept in main memory, once for each parameter.

    Args:
        model: A RecBole model.
        optimizer: Its optimiser.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model: dict[str, Any] = {
            name: value.detach().cpu().clone() for name, value in model.state_dict().items()
        }
        self._optimizer = copy.deepcopy(optimizer.state_dict())

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Bring model and optimiser back to it."""
        model.load_state_dict(self._model)
        optimizer.load_state_dict(copy.deepcopy(self._optimizer))
