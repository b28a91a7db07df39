"""Clicks of users with tastes, and of some who click on anything."""

from __future__ import annotations

import numpy as np
import torch

from recbole_atjt.weighting.co_occurrence import Clicks

ITEMS = 121
EACH = 20


def clicks_of(unrelated: float, seed: int = 0, users: int = 500, first: int = 1) -> Clicks:
    """Return clicks of users who like a tenth of the items each; the first ones click on any."""
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), EACH)
    taste = 10 * drawn.integers(0, (ITEMS - 1) // 10, len(user)) + user % 10 + 1
    item = np.where(user < unrelated * users, drawn.integers(1, ITEMS, len(user)), taste)
    return Clicks(torch.from_numpy(user + first), torch.from_numpy(item))
