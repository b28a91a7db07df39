"""Two streams of random numbers: one that all processes draw alike, one of each process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from recbole_atjt.parallel.group import rank, size
from recbole_atjt.randomness import global_state, put_global_state

#: State of the common stream while a process draws from its own; at most one.
_COMMON: list[tuple[Any, ...]] = []


@contextmanager
def own_numbers(*place: int) -> Iterator[None]:
    """Draw in the block what no other process draws; the common stream is left as it was.

    Own numbers depend on nothing but where they are drawn, so that nothing of them has to be kept.
    Alone, a process has the common stream only.

    Args:
        place: What tells this block from others: seed, epoch and batch.
    """
    if size() == 1:
        yield
        return
    _COMMON.append(global_state())
    seeds = np.random.SeedSequence([*place, rank()]).generate_state(3)
    torch.manual_seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    random.seed(int(seeds[2]))
    try:
        yield
    finally:
        put_global_state(_COMMON.pop())


@contextmanager
def common_numbers() -> Iterator[None]:
    """Draw what all processes draw alike, inside a block of :func:`own_numbers`."""
    if not _COMMON:
        yield
        return
    own = global_state()
    put_global_state(_COMMON.pop())
    try:
        yield
    finally:
        _COMMON.append(global_state())
        put_global_state(own)
