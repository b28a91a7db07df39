"""Splits without a loop over rows, in RecBole's order of rows, and the paper's split by user."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recbole_atjt.data.checked import CheckedDataset
from recbole_atjt.data.row_groups import Groups, leave_out_cuts
from recbole_atjt.errors import UsageError, nearest

PARTS = ("train", "valid", "test")
SPLITS = ("RS", "LS", "TS", "US")
LEAVE_ONE_OUT = ("valid_and_test", "valid_only", "test_only")


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


class SplitDataset(CheckedDataset):
    """RecBole's splits as whole-array operations, and one by user.

    The rows of every part are RecBole's, in its order.

    Args:
        config: RecBole's configuration.
    """

    def _grouped_index(self, group_by_list: np.ndarray) -> Groups:
        return Groups.by(group_by_list)

    def _split_index_by_leave_one_out(
        self, grouped_index: Groups, leave_one_num: int
    ) -> list[np.ndarray]:
        return grouped_index.cut(leave_out_cuts(grouped_index.sizes, leave_one_num))

    def split_by_ratio(self, ratios: list[float], group_by: str | None = None) -> list[Any]:
        """Split each group's rows by ratio, as RecBole does and in its order.

        Args:
            ratios: Shares of the parts; they need not sum to 1.
            group_by: Field to group by; without one, all rows are one group.
        """
        if group_by is None:
            return list(super().split_by_ratio(ratios))
        shares = [ratio / sum(ratios) for ratio in ratios]
        groups = self._grouped_index(self.inter_feat[group_by].numpy())
        sizes, size_of_group = np.unique(groups.sizes, return_inverse=True)
        cuts = [self._calcu_split_ids(tot=int(size), ratios=shares) for size in sizes]
        return self._parts(groups.cut(np.array(cuts)[size_of_group]))

    def time_based_split(self, ratios: list[float], group_by: str) -> list[Any]:
        """Split by one point in time for all, as RecBole does and in its order.

        Args:
            ratios: Shares of train, valid and test; they need not sum to 1.
            group_by: Field to group by.
        """
        shares = [ratio / sum(ratios) for ratio in ratios]
        times = self.inter_feat[self.time_field].numpy()
        is_early = times <= np.percentile(times, 100 * (1 - shares[-1]))
        groups = self._grouped_index(self.inter_feat[group_by].numpy())
        early = np.add.reduceat(is_early[groups.rows].astype(np.int64), groups.starts())
        train = (early * (shares[0] / (1 - shares[2]))).astype(np.int64)
        return self._parts(groups.cut(np.stack([train, early], axis=1)))

    def split_by_user(self, ratios: list[float]) -> list[Any]:
        """Deal whole users into train, valid and test (ATJT, 4.1.2).

        Args:
            ratios: Shares of the users, above 0; they need not sum to 1.

        Raises:
            UsageError: There are too few users to give each part one.
        """
        users, row_user = np.unique(self.inter_feat[self.uid_field].numpy(), return_inverse=True)
        shares = [ratio / sum(ratios) for ratio in ratios]
        cuts = self._calcu_split_ids(tot=len(users), ratios=shares)
        counts = np.diff([0, *cuts, len(users)])
        if counts.min() < 1:
            raise UsageError(
                f"eval_args split: US {ratios} deals {len(users)} users with histories into "
                f"{counts.tolist()}; each of train, valid and test needs one"
            )
        part = deal_parts(len(users), counts.tolist(), self.config["seed"])[row_user]
        return self._parts([np.flatnonzero(part == number) for number in range(len(counts))])

    def _parts(self, rows_of_parts: list[np.ndarray]) -> list[Any]:
        self._drop_unused_col()
        return [self.copy(self.inter_feat[rows]) for rows in rows_of_parts]
