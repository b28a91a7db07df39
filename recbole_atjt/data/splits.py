"""Splits without a loop over rows, in RecBole's order of rows, and the paper's split by user."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.errors import UsageError, nearest

PARTS = ("train", "valid", "test")
SPLITS = ("RS", "LS", "TS", "US")
LEAVE_ONE_OUT = ("valid_and_test", "valid_only", "test_only")


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
        codes = codes.astype(np.int32)
        return cls(np.argsort(codes, kind="stable"), np.bincount(codes))

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


def deal_parts(n_users: int, counts: Sequence[int], seed: int) -> np.ndarray:
    """Deal users into parts of given sizes, by numpy's seeded generator: the part of each user."""
    dealt = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(dealt)


def check_split(split: Any) -> str:
    """Check ``eval_args['split']`` and return its kind: RS, LS, TS or US.

    Raises:
        UsageError: The kind, the shares or the way of leaving one out is none that exists.
    """
    if not isinstance(split, dict) or len(split) != 1:
        raise UsageError(
            f"eval_args split: {split!r} must have one key of {', '.join(SPLITS)}, "
            "for example {'LS': 'valid_and_test'}"
        )
    [(kind, value)] = split.items()
    if kind not in SPLITS:
        raise UsageError(
            f"eval_args split: '{kind}' is unknown{nearest(str(kind), SPLITS)}; "
            f"there are {', '.join(SPLITS)}"
        )
    if kind == "LS":
        if value not in LEAVE_ONE_OUT:
            raise UsageError(
                f"eval_args split: LS is {value!r}; there are {', '.join(LEAVE_ONE_OUT)}"
            )
    elif not _are_shares(value, positive=kind == "US"):
        sign = "above 0" if kind == "US" else "of 0 or more"
        raise UsageError(
            f"eval_args split: {kind} needs three shares {sign} for train, valid and test, "
            f"for example {{'{kind}': [0.8, 0.1, 0.1]}}; it is {value!r}"
        )
    return str(kind)


def _are_shares(value: Any, positive: bool) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != len(PARTS):
        return False
    numbers = all(isinstance(share, (int, float)) and math.isfinite(share) for share in value)
    return numbers and all(share > 0 or not (positive or share) for share in value) and value[0] > 0
