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
        order = stable_order([torch.from_numpy(codes.astype(np.int32))])
        return cls(order.numpy(), np.bincount(codes))

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.split(self.rows, np.cumsum(self.sizes)[:-1]))

    def starts(self) -> np.ndarray:
        """Return where each group starts in `rows`, ``[g]``."""
        starts: np.ndarray = np.cumsum(self.sizes) - self.sizes
        return starts

    def cut(self, cuts: np.ndarray) -> list[np.ndarray]:
        """Cut every group at its own places.

        Args:
            cuts: Ascending numbers of rows before each cut, ``[g, k]``.

        Returns:
            The rows of the k + 1 parts, each group after group.
        """
        rank = np.arange(len(self.rows), dtype=np.int32)
        rank -= np.repeat(self.starts().astype(np.int32), self.sizes)
        part = np.zeros(len(self.rows), dtype=np.int8)
        for cut in cuts.T:
            part += rank >= np.repeat(cut.astype(np.int32), self.sizes)
        return [self.rows[part == number] for number in range(cuts.shape[1] + 1)]


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
