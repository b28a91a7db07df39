"""Rows grouped by a key and cut into parts, without a loop over rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from recbole_atjt.host.ordering import stable_order


@dataclass(frozen=True)
class Groups:
    """Rows by group: groups as they first appear, the rows of a group in their own order.

    Args:
        rows: All rows, group after group, ``[n]``.
        sizes: Number of rows of each group, ``[g]``.
    """

    rows: np.ndarray
    sizes: np.ndarray

    @classmethod
    def by(cls, keys: np.ndarray) -> Groups:
        """Group rows by their key ``[n]``."""
        codes, _ = pd.factorize(keys)
        sizes = np.bincount(codes)
        if (codes[1:] >= codes[:-1]).all():
            return cls(np.arange(len(codes)), sizes)
        order = stable_order([torch.from_numpy(codes.astype(np.int32))])
        return cls(order.numpy(), sizes)

    @classmethod
    def side_by_side(cls, starts: np.ndarray, n_rows: int) -> Groups:
        """Group rows that lie side by side.

        Args:
            starts: First row of each group, ascending from 0, ``[g]``.
            n_rows: Number of rows, n.
        """
        return cls(np.arange(n_rows), np.diff(starts, append=n_rows))

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.split(self.rows, np.cumsum(self.sizes)[:-1]))

    def starts(self) -> np.ndarray:
        """Return where each group starts in `rows`, ``[g]``."""
        starts: np.ndarray = np.cumsum(self.sizes) - self.sizes
        return starts

    def in_order(self, order: np.ndarray) -> np.ndarray:
        """Return the rows ``[n]`` group after group, groups in an ``order [g]``."""
        return self._rows_at(self.starts()[order], self.sizes[order])

    def cut(self, cuts: np.ndarray) -> list[np.ndarray]:
        """Cut every group at its own places.

        Args:
            cuts: Ascending numbers of rows before each cut, ``[g, k]``.

        Returns:
            The rows of the k + 1 parts, each group after group.
        """
        edges = np.column_stack([np.zeros_like(self.sizes), cuts, self.sizes])
        return [
            self._rows_at(self.starts() + low, high - low)
            for low, high in zip(edges.T[:-1], edges.T[1:])
        ]

    def _rows_at(self, first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return runs of `rows`, one after the other: where each begins, and its size."""
        places = np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
        places += np.arange(len(places))
        rows: np.ndarray = self.rows[places]
        return rows


def leave_out_cuts(sizes: np.ndarray, leave_one_num: int) -> np.ndarray:
    """Return the cuts that leave single last rows of each group to the last parts.

    The last part is served first; the first part always keeps one row.

    Args:
        sizes: Number of rows of each group, ``[g]``.
        leave_one_num: Number of parts of one row each, k.

    Returns:
        Cuts ``[g, k]``.
    """
    sizes = sizes[:, None]
    cuts: np.ndarray = sizes - np.minimum(np.arange(leave_one_num, 0, -1), sizes - 1)
    return cuts
