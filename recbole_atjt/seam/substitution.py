"""An attribute of a module replaced for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def substituted(module: nn.Module, name: str, value: Any) -> Iterator[None]:
    """Put ``value`` in the place of ``module.name`` for the length of the block."""
    for room in (vars(module), module._modules):
        if name in room:
            kept = room[name]
            room[name] = value
            try:
                yield
            finally:
                room[name] = kept
            return
    vars(module)[name] = value
    try:
        yield
    finally:
        del vars(module)[name]
