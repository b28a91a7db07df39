"""Rows in the order of their keys."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def stable_order(keys: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the rows in ascending order of their keys, the first key first, ties as they are.

    Whole numbers are packed into one where they fit, since torch sorts whole numbers by their
    digits, several times as fast as by comparisons.

    Args:
        keys: Columns ``[n]`` without NaN.
    """
    packed = _packed(keys)
    if packed is not None:
        return torch.sort(packed, stable=True)[1]
    order: torch.Tensor | None = None
    for key in reversed(keys):
        placed = torch.sort(key if order is None else key[order], stable=True)[1]
        order = placed if order is None else order[placed]
    assert order is not None
    return order


def _packed(keys: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return one whole number for each row that orders as all its keys do, if there is one."""
    packed, room = torch.zeros(len(keys[0]), dtype=torch.int64), 1
    for key in keys:
        if not key.numel():
            return None
        low, high = (end.item() for end in key.aminmax())
        if not -(2.0**53) < low <= high < 2.0**53:
            return None
        whole = key.long()
        if key.is_floating_point() and not bool((whole == key).all()):
            return None
        size = int(high) - int(low) + 1
        room *= size
        if room >= 2**63:
            return None
        packed.mul_(size).add_(whole).sub_(int(low))
    return packed.int() if room < 2**31 else packed
