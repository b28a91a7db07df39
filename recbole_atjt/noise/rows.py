"""Noise in plain interactions: those of general models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.data.clean import NOISE_FIELD
from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.insertion import Growth
from recbole_atjt.noise.kinds import corrupt
from recbole_atjt.noise.plan import Plan
from recbole_atjt.noise.truth import Fields


def plant_rows(plan: Plan, feats: Sequence[Any], fields: Fields, n_items: int) -> list[Interaction]:
    """Plant noise in the training interactions of a split.

    Args:
        plan: What to plant.
        feats: Interactions of training, validation and test.
        fields: Names of columns; without times, a user's clicks are in the order of the rows.
        n_items: Number of items, the padding included.

    Returns:
        New interactions in the former order; an added one stands behind the click it follows.
    """
    train: dict[str, Tensor] = feats[0].interaction
    users, items = train[fields.user].numpy(), train[fields.item].numpy()
    times = fields.times(train)
    order = np.lexsort((users,) if times is None else (times, users))
    found = corrupt(Clicks(users[order], items[order], n_items), plan)
    by_row = np.argsort(order[found.after], kind="stable")
    after = found.after[by_row]
    growth = Growth(len(users), order[after])
    planted = {name: column[torch.from_numpy(growth.source)] for name, column in train.items()}
    if times is not None and len(after):
        ends = times[order[after]], times[order[after + 1]]
        fields.place_between(planted, growth.added, ends, growth.after)
    planted[NOISE_FIELD] = torch.zeros(len(growth.source))
    for name, values, added in (
        (fields.item, found.items, found.added[by_row]),
        (NOISE_FIELD, found.noise, np.ones(len(after))),
    ):
        column = planted[name]
        column[growth.moved(order)] = torch.from_numpy(values).to(column.dtype)
        column[growth.added] = torch.from_numpy(added).to(column.dtype)
    return [Interaction(planted), *(_with_truth(feat, fields) for feat in feats[1:])]


def _with_truth(feat: Any, fields: Fields) -> Interaction:
    columns: dict[str, Tensor] = feat.interaction
    return Interaction({**columns, NOISE_FIELD: fields.truth(columns, len(feat))})
