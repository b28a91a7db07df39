"""User-disjoint groups (ATJT, 3.4.1): no sequence is weighted by a recogniser that saw its user."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.errors import UsageError


def deal_users(users: Tensor, n_groups: int, seed: int, key: str = "groups") -> Tensor:
    """Deal the users of a training set into disjoint groups of (nearly) equal size.

    Users are dealt, not samples: the prefix windows of one user share their items.

    Args:
        users: User id of each training sample, ``[n]``.
        n_groups: N, at least 2.
        seed: Seed of the dealing.
        key: Config key that says N, for errors.

    Returns:
        Group of each training sample, ``[n]``, in ``0 .. N-1``; no group is empty.

    Raises:
        UsageError: N is below 2 or larger than the number of users.
    """
    distinct, index = np.unique(users.numpy(), return_inverse=True)
    if n_groups < 2:
        raise UsageError(f"{key}={n_groups}: at least 2 groups of users are needed")
    if n_groups > len(distinct):
        right = (
            f"use 2 to {len(distinct)}" if len(distinct) > 1 else "use weighting=channel or none"
        )
        raise UsageError(
            f"{key}={n_groups} is more than the {len(distinct)} users with training "
            f"sequences: {right}"
        )
    dealt = np.arange(len(distinct)) % n_groups
    group_of_user = np.random.default_rng(seed).permutation(dealt)
    return torch.from_numpy(group_of_user[index])
