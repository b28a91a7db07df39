"""Item histories that are gathered when they are indexed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

RowsOf = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""From targets, lengths, positions and the row of the padding to rows of the base."""


@dataclass(frozen=True)
class HistoryField:
    """Where a ``*_list`` column comes from, and what it looks like.

    Args:
        values: Values of the sorted interactions, a row of zeros (the padding) last,
            ``[n + 1, ...]``.
        shape: Shape of one window's history: ``(L,)``; ``(L, S)`` for sequence fields;
            a last dimension of 2 for numerical features.
        dtype: Type of the gathered column.
    """

    values: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype

    def gather(self, rows: Tensor) -> Tensor:
        """Return the values at ``rows [B, P]`` of the base as ``[B, P, ...]``."""
        flat = self.values.index_select(0, rows.view(-1))
        gathered = flat.view(rows.shape + self.values.shape[1:])
        if gathered.dtype != self.dtype:
            gathered = gathered.to(self.dtype)
        return self.widen(gathered, lead=2)

    def widen(self, gathered: Tensor, lead: int) -> Tensor:
        """Pad sequences that are shorter than the field's length; ``lead`` dimensions precede."""
        if gathered.shape[lead:] == self.shape[1:]:
            return gathered
        wide = gathered.new_zeros((*gathered.shape[:lead], *self.shape[1:]))
        wide.narrow(lead, 0, gathered.shape[lead]).copy_(gathered)
        return wide


def as_selector(index: Any) -> Tensor | slice:
    """Turn what RecBole indexes with (list, range, array, tensor, mask, slice) into a selector."""
    if isinstance(index, slice):
        return index
    rows = index if isinstance(index, Tensor) else torch.as_tensor(np.asarray(index))
    return rows if rows.dtype == torch.bool else rows.long()


def is_scalar(index: Any) -> bool:
    """Tell whether an index names a single row."""
    if isinstance(index, (Tensor, np.ndarray)):
        return index.ndim == 0
    return isinstance(index, (int, np.integer))


def history_rows(target: Tensor, length: Tensor, positions: Tensor, padding: int) -> Tensor:
    """Find where histories lie in the base.

    Args:
        target: Target row of each window, ``[B]``.
        length: Length of each history, ``[B]``.
        positions: Positions of interest in a history, from 0, ``[P]``.
        padding: Row for positions past a history's end.

    Returns:
        Rows of the base, ``[B, P]``.
    """
    # By numpy: on so few numbers, torch's threads wait for each other longer than they work.
    place, size = positions.numpy(), length.numpy()[:, None]
    rows = place + (target.numpy()[:, None] - size)
    return torch.from_numpy(np.where(place < size, rows, padding))


class History:
    """A ``*_list`` column whose rows are gathered when they are asked for.

    It is indexed as RecBole's padded tensor ``[m, L, ...]`` would be: by a window, a slice, a
    list, an array, a tensor or a mask, and by a tuple of that and positions, e.g. ``[:, 0]``.

    Args:
        field: Where the values lie.
        target: Target row of each window, ``[m]``.
        length: Length of each history, ``[m]``.
        rows_of: Finds the rows of histories in the base, as :func:`history_rows` does.
    """

    def __init__(
        self,
        field: HistoryField,
        target: Tensor,
        length: Tensor,
        rows_of: RowsOf = history_rows,
    ) -> None:
        self._field, self._target, self._length = field, target, length
        self._rows_of = rows_of
        self.dtype = field.dtype
        self.device = field.values.device

    @property
    def shape(self) -> torch.Size:
        """Shape of the whole column, ``[m, L, ...]``."""
        return torch.Size((len(self._target), *self._field.shape))

    def __len__(self) -> int:
        return len(self._target)

    def __getitem__(self, index: Any) -> Tensor:
        index, *inner = index if isinstance(index, tuple) else (index,)
        if is_scalar(index):
            row = self._one(int(index))
            return row[tuple(inner)] if inner else row
        positions = torch.arange(self._field.shape[0])
        selector = as_selector(index)
        target, length = self._target[selector], self._length[selector]
        if not inner:
            return self._gather(target, length, positions)
        if isinstance(inner[0], int):
            gathered = self._gather(target, length, positions[inner[0]].unsqueeze(0))
            inner[0] = 0
        else:
            gathered = self._gather(target, length, positions)
        where = (slice(None), *inner)
        return gathered[where]

    def _gather(self, target: Tensor, length: Tensor, positions: Tensor) -> Tensor:
        padding = len(self._field.values) - 1
        return self._field.gather(self._rows_of(target, length, positions, padding))

    def _one(self, window: int) -> Tensor:
        if self._rows_of is not history_rows:
            return self[[window]][0]
        end, length = int(self._target[window]), int(self._length[window])
        values = self._field.values[end - length : end].to(self.dtype)
        history = values.new_zeros(self._field.shape)
        history[:length] = self._field.widen(values, lead=1)
        return history

    def numpy(self) -> np.ndarray:
        """Return the whole column, padded, as an array ``[m, L, ...]``."""
        return self[:].numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)
