"""Batches and losses between host and GPU, without a wait in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.data.loaders import PairedBatch


class OnDevice:
    """A loader whose batches are on their way to a GPU when they are handed on.

    Their columns go by memory that the device reads itself, while the host goes on.

    Args:
        batches: A loader.
        device: Where they go.
    """

    def __init__(self, batches: Any, device: torch.device) -> None:
        self._batches, self._device = batches, device

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Interaction]:
        for batch in self._batches:
            if isinstance(batch, PairedBatch):
                yield batch.copied(self._sent)
            else:
                yield Interaction(
                    {name: self._sent(each) for name, each in batch.interaction.items()}
                )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    def _sent(self, column: Tensor) -> Tensor:
        if column.device.type != "cpu":
            return column
        return column.pin_memory().to(self._device, non_blocking=True)


def unread(loss_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a loss function whose losses stay on the device where RecBole's trainer sums them up.

    It asks each loss for its ``item()`` before it goes on; here that is a tensor, exact in 64 bits.

    Args:
        loss_of: Gives a loss, or several.
    """

    def left(interaction: Any) -> Any:
        losses = loss_of(interaction)
        for part in losses if isinstance(losses, tuple) else (losses,):
            _leave(part, part.detach().double())
        return losses

    return left


def _leave(loss: Tensor, value: Tensor) -> None:
    """Let a loss give ``value`` as its item; of itself it would hold its own graph."""
    vars(loss)["item"] = lambda: value


def read(losses: Any) -> Any:
    """Return an epoch's sums of losses as numbers, for which the host waits.

    Args:
        losses: Sums as RecBole's trainer returns them: one, several, or None.
    """
    if isinstance(losses, tuple):
        return tuple(map(float, losses))
    return losses if losses is None else float(losses)
