"""Conditions of training steps: asked at once, or, where that would wait for a device, later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_atjt.errors import TrainingError

#: A number that no batch has.
_NONE = torch.iinfo(torch.long).max


class Checks:
    """What losses and weights have to be, checked batch by batch.

    A host that reads a number from a GPU stands still until the GPU has done all that it was asked
    to. There the first batch that fails is noted on the device, by what is said of it, and
    :meth:`ask` reads that.

    Args:
        waits: Whether each condition is asked at once.
    """

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits
        #: Number of the batch that is trained; of the one that failed once that is raised.
        self.batch = 0
        self._failed: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def on(cls, device: Any) -> Checks:
        """Return those of a training on a device of torch."""
        return cls(waits=torch.device(device).type != "cuda")

    def require(self, holds: Tensor, said: str, value: Tensor | None = None) -> None:
        """Require a condition of the batch.

        Args:
            holds: Whether it holds, a scalar.
            said: What is said if not, ``{}`` in the place of ``value``.
            value: What it is about, a scalar; none by default.

        Raises:
            TrainingError: It does not hold, and is asked at once.
        """
        value = holds if value is None else value.detach()
        if self.waits:
            if not bool(holds):
                raise TrainingError(said.format(value.item()))
            return
        now = torch.where(holds, _NONE, self.batch)
        if said in self._failed:
            first, then = self._failed[said]
            value, now = torch.where(now < first, value, then), torch.minimum(now, first)
        self._failed[said] = now, value

    def ask(self) -> None:
        """Ask whether all that was required held.

        Raises:
            TrainingError: Something did not, of the first batch in which anything failed.
        """
        failed, self._failed = self._failed, {}
        first = {said: int(batch) for said, (batch, _) in failed.items()}
        said = min(first, key=lambda each: first[each], default=None)
        if said is not None and first[said] != _NONE:
            self.batch = first[said]
            raise TrainingError(said.format(failed[said][1].item()))
