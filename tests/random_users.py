"""Clicks of users with tastes, of some who click on anything, and that nobody chose."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, WeighedClicks

ITEMS = 121
EACH, LIKED = 20, 12
BAIT = 3


def clicks_of(unrelated: float, seed: int = 0, users: int = 500, first: int = 1) -> Clicks:
    """Return clicks of users who like a tenth of the items each; the first ones click on any."""
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), EACH)
    taste = 10 * drawn.integers(0, (ITEMS - 1) // 10, len(user)) + user % 10 + 1
    item = np.where(user < unrelated * users, drawn.integers(1, ITEMS, len(user)), taste)
    return Clicks(torch.from_numpy(user + first), torch.from_numpy(item))


def with_bait(share: float, users: int = 500) -> tuple[Clicks, Tensor]:
    """Return clicks of which a share is on the first ``BAIT`` items, and which are noise."""
    clicks = clicks_of(0.0, users=users)
    drawn = np.random.default_rng(4)
    noisy = torch.from_numpy(drawn.random(len(clicks.item)) < share)
    bait = torch.from_numpy(drawn.integers(1, BAIT + 1, len(clicks.item)))
    return Clicks(clicks.user, torch.where(noisy, bait, clicks.item)), noisy


def once(users: int = 500, first: int = 1) -> Clicks:
    """Return clicks of users who like a tenth of the items each, hardly any of them twice."""
    drawn = np.random.default_rng(1)
    liked = [10 * drawn.permutation(12)[:LIKED] + user % 10 + 1 for user in range(users)]
    user = np.repeat(np.arange(users), LIKED) + first
    return Clicks(torch.from_numpy(user), torch.from_numpy(np.concatenate(liked)))


def struck(share: float, users: int = 500, first: int = 1) -> tuple[Clicks, Tensor]:
    """Return clicks of which half of some users' are on one random item, and which those are."""
    clicks = once(users, first)
    drawn = np.random.default_rng(3)
    number = clicks.user.numpy() - first
    other = drawn.integers(1, ITEMS, users)[number]
    noisy = (number < 2 * share * users) & (np.arange(len(number)) % LIKED < LIKED // 2)
    item = np.where(noisy, other, clicks.item.numpy())
    return Clicks(clicks.user, torch.from_numpy(item)), torch.from_numpy(noisy)


def random_clicks(users: int = 12, seed: int = 0) -> Clicks:
    """Return clicks of users with 1 to 8 each, items repeated."""
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(1, users + 1), drawn.integers(1, 9, users))
    return Clicks(torch.from_numpy(user), torch.from_numpy(drawn.integers(1, 7, len(user))))


def weighed(clicks: Clicks, seed: int = 3) -> WeighedClicks:
    """Return clicks of which each counts differently."""
    weight = torch.rand(len(clicks.item), generator=torch.Generator().manual_seed(seed)).double()
    return WeighedClicks(clicks.user, clicks.item, weight)
