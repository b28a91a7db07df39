"""Clicks that are known for noise before the training: of some users, and repeated ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.unrelated_clicks import UnrelatedClicks
from tests.random_users import ITEMS, LIKED, clicks_of, once, struck


def both() -> tuple[Clicks, Tensor]:
    """Return clicks of users who click at random and of such whose clicks are half repeated."""
    clicks, noisy = struck(0.1, users=600)
    random = clicks_of(1.0, users=250, first=9001)
    some = torch.arange(len(random.user)) % 20 < LIKED  # as many clicks as all others have
    user = torch.cat((clicks.user, random.user[some]))
    item = torch.cat((clicks.item, random.item[some]))
    return Clicks(user, item), torch.cat((noisy, torch.ones(int(some.sum()), dtype=torch.bool)))


def test_both_are_known_at_once() -> None:
    clicks, noisy = both()
    found = UnrelatedClicks(clicks, ITEMS)
    assert found.share == pytest.approx(float(noisy.double().mean()), abs=0.06)
    assert list(found.shares()) == ["unrelated_users", "unrelated_repeats"]
    sound = found.sound(clicks.user, clicks.item)
    assert float(sound[noisy].mean()) < 0.25 < 0.9 < float(sound[~noisy].mean())
    kept = found.without(clicks)
    assert len(kept.user) == int((sound >= 0.5).sum())
    assert float(found.sound(kept.user, kept.item).min()) >= 0.5


def test_without_either_all_are_sound() -> None:
    clicks = once()
    found = UnrelatedClicks(clicks, ITEMS)
    assert found.share == 0
    assert found.shares() == {}
    assert torch.equal(found.without(clicks).item, clicks.item)
