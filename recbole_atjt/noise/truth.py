"""The column ``is_noise`` and the columns that planting reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.data.clean import NOISE_FIELD
from recbole_atjt.noise.insertion import times_between


@dataclass(frozen=True)
class Fields:
    """Names of columns.

    Args:
        user: Column of users.
        item: Column of items.
        time: Column of times; None, or a name that is no column, where there is none.
        keeps_own: Whether rows outside training keep the data's own ``is_noise``.
    """

    user: str
    item: str
    time: str | None
    keeps_own: bool = False

    def times(self, columns: Mapping[str, Tensor]) -> np.ndarray | None:
        """Return the times ``[n]`` as an array that shares the column's memory, or None."""
        if self.time is None or self.time not in columns:
            return None
        column = columns[self.time]
        return (column if column.dim() == 1 else column[:, 0]).numpy()

    def truth(self, columns: Mapping[str, Tensor], rows: int) -> Tensor:
        """Return a new ``is_noise``, ``[rows]``: zeros, or the data's own numbers."""
        own = columns.get(NOISE_FIELD) if self.keeps_own else None
        if own is None or not own.is_floating_point() or own.dim() > 1:
            return torch.zeros(rows)
        return own.clone()

    def place_between(
        self,
        columns: Mapping[str, Tensor],
        added: np.ndarray,
        ends: tuple[np.ndarray | None, np.ndarray | None],
        after: np.ndarray,
    ) -> None:
        """Set the times of added rows in ``columns``, between those of their neighbors.

        Args:
            columns: New columns of tensors that nobody shares.
            added: The added rows, ``[m]``.
            ends: Time of the click before and after each added one, ``[m]``.
            after: Names each gap; equal ones side by side, ascending, ``[m]``.
        """
        times = self.times(columns)
        if times is None or ends[0] is None or ends[1] is None:
            return
        times[added] = times_between(ends[0], ends[1], after)
