"""Rows in the order of their keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def stable_order(keys: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the rows in ascending order of their keys, the first key first, ties as they are.

    Whole numbers are packed into one where they fit, since torch sorts whole numbers by their
    digits, several times as fast as by comparisons.

    Args:
        keys: Columns ``[n]`` without NaN.
    """
    whole = [key for key in map(_whole, keys) if key is not None]
    lowest = [int(key.min()) for key in whole]
    sizes = [int(key.max()) - low + 1 for key, low in zip(whole, lowest)]
    if len(whole) == len(keys) and math.prod(sizes) < 2**63:
        packed = torch.zeros_like(whole[0])
        for key, low, size in zip(whole, lowest, sizes):
            packed.mul_(size).add_(key).sub_(low)
        return torch.sort(packed, stable=True)[1]
    order: torch.Tensor | None = None
    for key in reversed(keys):
        placed = torch.sort(key if order is None else key[order], stable=True)[1]
        order = placed if order is None else order[placed]
    assert order is not None
    return order


def _whole(key: torch.Tensor) -> torch.Tensor | None:
    """Return a column as int64 where all its values are whole and below 2^53."""
    if not key.numel():
        return None
    if not key.is_floating_point():
        return key.long()
    if not bool(key.abs().max() < 2.0**53):
        return None
    as_whole = key.long()
    return as_whole if bool((as_whole == key).all()) else None
