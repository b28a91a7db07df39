"""Gradients of several processes, summed when a backward pass ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from recbole_atjt.errors import TrainingError
from recbole_atjt.parallel.group import summed


def sum_after_backward(loss: Tensor, parameters: Iterable[Tensor]) -> None:
    """Sum the parameters' gradients over all processes as soon as ``loss`` has been differentiated.

    The sum is there when ``backward`` returns, before gradients are clipped. A parameter that no
    process has a gradient for is left without.

    Args:
        loss: This process's part of the batch's loss.
        parameters: The same on every process, in the same order.
    """
    wanted = [each for each in parameters if each.requires_grad]

    def begin(gradient: Tensor) -> None:
        engine: Any = torch.autograd.Variable._execution_engine
        engine.queue_callback(lambda: _sum(wanted))

    loss.register_hook(begin)


def _sum(parameters: list[Tensor]) -> None:
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for each in parameters:
        kinds.setdefault((each.dtype, each.device), []).append(each)
    for alike in kinds.values():
        _sum_alike(alike)


@torch.no_grad()
def _sum_alike(parameters: list[Tensor]) -> None:
    """Sum gradients of one type in one message, behind them how many processes have each."""
    first, parts = parameters[0], []
    for each in parameters:
        if each.grad is not None and each.grad.is_sparse:
            raise TrainingError("sparse gradients can't be summed over processes: use one process")
        parts.append(torch.zeros_like(each) if each.grad is None else each.grad)
    there = torch.tensor([each.grad is not None for each in parameters])
    flat = torch.cat([*(part.flatten() for part in parts), there.to(first)])
    sums = summed(flat).split([*(each.numel() for each in parameters), len(parameters)])
    for each, total, count in zip(parameters, sums, sums[-1].tolist()):
        if count:
            each.grad = total.view_as(each)
