"""Groups of users that are judged by what was trained on the other groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.data.user_groups import deal_users
from recbole_atjt.loading import make_loaders


@dataclass(frozen=True)
class Fold:
    """A training, and the interactions that it judges.

    Args:
        number: Which fold it is, from 0.
        loaders: Loaders of training, validation and test.
        judged: Rows of the training part that are judged, ``[m]``.
        batches: RecBole's training loader of the judged rows, which makes their batches.
        validated: The same of the validation part, whose loss says when to stop; None where there
            is none.
    """

    number: int
    loaders: tuple[Any, Any, Any]
    judged: Tensor
    batches: Any
    validated: Any


def in_sample_fold(config: Any, dataset: Any, parts: list[Any]) -> Fold:
    """Return the one training that judges what it is trained on."""
    loaders = make_loaders(config, dataset, parts)
    judged = torch.arange(len(parts[0]))
    return Fold(0, loaders, judged, loaders[0], _validated(config, dataset, parts))


def held_out_fold(
    config: Any, dataset: Any, parts: list[Any], group_of: dict[int, int], number: int
) -> Fold:
    """Return a training without the users of a group, whose interactions it judges.

    Validation, which chooses when to stop, is without these users, too.

    Args:
        config: RecBole's configuration.
        dataset: The whole dataset.
        parts: Its training, validation and test part.
        group_of: Group of each user of the training part.
        number: The group that is held out.
    """
    held = [held_out(part, group_of, number) for part in parts]
    kept = [_rows(part, ~out) for part, out in zip(parts, held)]
    judged = held[0].nonzero().squeeze(1)
    others = [_rows(part, out) for part, out in zip(parts, held)]
    batches = make_loaders(config, dataset, others)[0]
    validated = _validated(config, dataset, kept)
    return Fold(number, make_loaders(config, dataset, kept), judged, batches, validated)


def deal(part: Any, groups: int, seed: int) -> dict[int, int]:
    """Deal the users of a training part into groups: user -> group.

    Raises:
        UsageError: Fewer than 2 groups, or more than there are users.
    """
    users = part.inter_feat[part.uid_field]
    dealt = deal_users(users, groups, seed, "groups")
    return dict(zip(users.tolist(), dealt.tolist()))


def held_out(part: Any, group_of: dict[int, int], number: int) -> Tensor:
    """Tell which rows of a part are of users of a group, ``[n]``."""
    users, place = np.unique(part.inter_feat[part.uid_field].numpy(), return_inverse=True)
    held = np.array([group_of.get(user) == number for user in users.tolist()], dtype=bool)
    return torch.from_numpy(held[place])


def _validated(config: Any, dataset: Any, parts: list[Any]) -> Any:
    """Return a training loader of the validation part; None where it has no row."""
    if not len(parts[1]):
        return None
    return make_loaders(config, dataset, [parts[1], *parts[1:]])[0]


def _rows(part: Any, chosen: Tensor) -> Any:
    return part.copy(part.inter_feat[chosen.nonzero().squeeze(1)])
