"""Clicks as planting sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Clicks:
    """Clicks that may be corrupted, sorted by user and time.

    Args:
        users: User of each click, equal users side by side, ``[n]``.
        items: Item of each click, in ``1 .. n_items - 1``, ``[n]``.
        n_items: Number of items, the padding 0 included.
    """

    users: np.ndarray
    items: np.ndarray
    n_items: int

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each user's clicks start, ``[u]``."""
        is_first = np.ones(len(self), dtype=bool)
        is_first[1:] = self.users[1:] != self.users[:-1]
        return np.flatnonzero(is_first)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of clicks of each user, ``[u]``."""
        return np.diff(self.starts, append=len(self))

    @cached_property
    def user_index(self) -> np.ndarray:
        """Number of each click's user, in order of the clicks, ``[n]``."""
        return np.repeat(np.arange(len(self.starts)), self.sizes)
