"""Clicks that are left out of histories, whoever's window they would stand in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.data.history import history_rows


class HistoryMask:
    """Which rows of a base histories leave out; none at first.

    All windows of a base share it, so that training, validation and test leave out the same
    clicks. A history that loses clicks reaches further back. One that would lose all keeps the
    click just before its target.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave out none."""
        self.kept: np.ndarray | None = None
        self._rows = self._before = self._first = np.zeros(0, dtype=np.int64)

    def keep(self, kept: np.ndarray, users: np.ndarray) -> None:
        """Leave out the rows that are not kept.

        Args:
            kept: Whether a row stays in histories, ``[n]``.
            users: User of each row, equal users side by side, ``[n]``.
        """
        if kept.all():
            self.clear()
            return
        row_type = np.int32 if len(users) < 2**31 else np.int64
        self.kept = kept
        self._rows = np.append(np.flatnonzero(kept), len(kept)).astype(row_type)
        self._before = np.zeros(len(kept) + 1, dtype=row_type)
        np.cumsum(kept, out=self._before[1:])
        is_first = np.ones(len(users), dtype=bool)
        is_first[1:] = users[1:] != users[:-1]
        starts = np.where(is_first, np.arange(len(users), dtype=row_type), 0)
        self._first = np.maximum.accumulate(starts)

    def lengths(self, target: Tensor, length: Tensor, most: int) -> Tensor:
        """Return how long histories are without what is left out, ``[B]``.

        Args:
            target: Row of each window's target, ``[B]``.
            length: Length of its whole history, ``[B]``.
            most: L, the largest length.
        """
        if self.kept is None:
            return length
        found = np.clip(self._counts(target.numpy()), 1, most)
        return torch.from_numpy(found).to(length.dtype)

    def rows(
        self, target: Tensor, length: Tensor, most: int, positions: Tensor, padding: int
    ) -> Tensor:
        """Find where histories lie in the base, ``[B, P]``.

        Args:
            target: Row of each window's target, ``[B]``.
            length: Length of its whole history, ``[B]``.
            most: L, the largest length.
            positions: Positions of interest in a history, from 0, ``[P]``.
            padding: Row for positions past a history's end.
        """
        if self.kept is None:
            return history_rows(target, length, positions, padding)
        end = target.numpy()
        size = self.lengths(target, length, most).numpy().astype(np.int64)[:, None]
        place = positions.numpy()
        among_kept = place + (self._before[end].astype(np.int64)[:, None] - size)
        inside = place < size
        rows = self._rows[np.where(inside, among_kept, 0)]
        alone = self._counts(end) == 0
        rows[alone] = end[alone, None] - 1
        return torch.from_numpy(np.where(inside, rows.astype(np.int64), padding))

    def _counts(self, target: np.ndarray) -> np.ndarray:
        """Count the kept clicks of each target's user before it, ``[B]``."""
        counts: np.ndarray = self._before[target] - self._before[self._first[target]]
        return counts


def bits_of(marks: np.ndarray | None) -> Tensor | None:
    """Return marks ``[n]`` at a bit each."""
    return None if marks is None else torch.from_numpy(np.packbits(marks))


def marks_of(bits: Tensor | None, count: int) -> np.ndarray | None:
    """Return the ``count`` marks that :func:`bits_of` was called on."""
    if bits is None:
        return None
    marks: np.ndarray = np.unpackbits(bits.cpu().numpy(), count=count) == 1
    return marks
