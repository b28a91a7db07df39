"""The clicks of a dataset in the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def clicks_in_order(dataset: Any) -> tuple[Tensor, Tensor]:
    """Return users and items of a dataset's clicks, by user and then by time, ``[T]`` each.

    Rows that are labelled as no clicks are left out. Without a column of time a user's clicks are
    in the order of the rows.

    Args:
        dataset: A dataset as RecBole has built it; of sequences, whose targets are the clicks.
    """
    rows = dataset.inter_feat
    user, item = rows[dataset.uid_field].numpy(), rows[dataset.iid_field].numpy()
    keys = [user]
    if dataset.time_field in rows:
        keys.insert(0, rows[dataset.time_field].numpy())
    order = np.lexsort(keys)
    if dataset.label_field in rows:
        order = order[rows[dataset.label_field].numpy()[order] > 0]
    return torch.from_numpy(user[order]).long(), torch.from_numpy(item[order]).long()
