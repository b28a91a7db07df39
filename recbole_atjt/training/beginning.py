"""Where a training began, to which it may return."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from recbole_atjt.randomness import capture_rng, restore_rng


class BeginsAgain(Exception):
    """Leaves RecBole's loop over epochs, for training to begin again."""


class Beginning:
    """The state of a model, of its optimiser and of all randomness before anything was trained.

    It is kept in main memory, once for each parameter.

    Args:
        model: A RecBole model.
        optimizer: Its optimiser.
        generators: Named generators that the training draws from, beside the global ones.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generators: Mapping[str, torch.Generator],
    ) -> None:
        self._model: dict[str, Any] = {
            name: value.detach().cpu().clone() for name, value in model.state_dict().items()
        }
        self._optimizer = copy.deepcopy(optimizer.state_dict())
        #: States of all random generators; those of the first process where one was resumed.
        self.rng: Mapping[str, Any] = capture_rng(generators)

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generators: Mapping[str, torch.Generator],
    ) -> None:
        """Bring all of them back to it."""
        model.load_state_dict(self._model)
        optimizer.load_state_dict(copy.deepcopy(self._optimizer))
        restore_rng(self.rng, generators)
