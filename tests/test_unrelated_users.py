"""Users whose clicks have nothing to do with each other: how many are found, and which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.weighting import co_occurrence, unrelated_users
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.repeats import single_clicks
from recbole_atjt.weighting.unrelated_users import UnrelatedUsers
from tests.random_users import ITEMS, clicks_of


def found_in(clicks: Clicks) -> tuple[UnrelatedUsers, Tensor]:
    """Return what is found, and the probability of each user to be sound, by id."""
    found = UnrelatedUsers(clicks, ITEMS)
    return found, found.sound(clicks.user.unique())


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_share_of_users_who_click_at_random_is_found(share: float) -> None:
    found, sound = found_in(clicks_of(share))
    assert found.share == pytest.approx(share, abs=0.06)
    number = round(share * len(sound))
    assert float(sound[:number].mean()) < 0.1
    assert float(sound[number:].mean()) > 0.98


@pytest.mark.parametrize("part", [0.0, 0.02, 1.0])
def test_none_is_found_where_there_are_none_or_all(part: float) -> None:
    """Where everybody clicks at random, clicks tell nothing."""
    found, sound = found_in(clicks_of(part))
    assert found.share == 0
    assert bool((sound == 1).all())


def test_clicks_at_random_among_others_make_no_user_unrelated() -> None:
    clicks = clicks_of(0.0)
    drawn = np.random.default_rng(5)
    random = torch.from_numpy(drawn.integers(1, ITEMS, len(clicks.item)))
    noisy = torch.from_numpy(drawn.random(len(clicks.item)) < 0.3)
    found, _ = found_in(Clicks(clicks.user, torch.where(noisy, random, clicks.item)))
    assert found.share == 0


def test_users_who_click_at_random_lie_as_random_users_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever others do: that is what the share rests on."""
    seen = []
    monkeypatch.setattr(unrelated_users, "_tested", lambda *each: seen.append(each) or (0.0, None))
    UnrelatedUsers(clicks_of(0.4), ITEMS)
    ((users, random),) = seen
    assert float(users[:200].mean()) == pytest.approx(0.0, abs=0.25)
    assert float(users[:200].std()) == pytest.approx(1.0, abs=0.2)
    assert float(random.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(random.std()) == pytest.approx(1.0, abs=0.1)
    assert float(users[200:].min()) > 3


def test_other_users_are_judged_by_what_was_counted() -> None:
    own, others = clicks_of(0.3), clicks_of(0.5, seed=1, users=60, first=9001)
    alone, found = UnrelatedUsers(own, ITEMS), UnrelatedUsers(own, ITEMS, others)
    assert bool((alone.sound(others.user) == 1).all())
    sound = found.sound(torch.arange(9001, 9061))
    assert float(sound[:30].mean()) < 0.1 < 0.9 < float(sound[30:].mean())
    assert torch.equal(found.sound(own.user), alone.sound(own.user))


def test_of_many_clicks_those_of_some_users_tell_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks = clicks_of(0.3, users=1500)
    monkeypatch.setattr(co_occurrence, "_TESTED", len(clicks.item) // 3)
    found, sound = found_in(clicks)
    assert found.share == pytest.approx(0.3, abs=0.08)
    assert float(sound[:450].mean()) < 0.1 < 0.95 < float(sound[450:].mean())


def test_users_with_more_clicks_than_a_block_are_tested_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = clicks_of(0.3)
    expected = UnrelatedUsers(clicks, ITEMS).sound(clicks.user)
    monkeypatch.setattr(co_occurrence, "_BLOCK", 50)
    assert torch.allclose(UnrelatedUsers(clicks, ITEMS).sound(clicks.user), expected)


@pytest.mark.parametrize("users", [[], [1], [1, 1, 1, 2, 2, 2], [1] * 9])
def test_of_few_clicks_nothing_is_known(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    found = UnrelatedUsers(Clicks(user, torch.arange(len(users)) + 1), ITEMS)
    assert found.share == 0
    assert found.sound(torch.tensor([1, 2, 7])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("variance", [(0.5, 0.0), (0.0, 3.0), (0.2, 2.0)])
@pytest.mark.parametrize("most", [5, 40])
def test_the_variance_of_random_users_falls_with_their_clicks(
    variance: tuple[float, float], most: int
) -> None:
    """Also where all have as many, and one part can't be told from the other."""
    drawn = np.random.default_rng(0)
    clicks = drawn.integers(4, most, 20_000) if most > 5 else np.full(20_000, 20)
    expected = variance[0] + variance[1] / clicks
    middle = 1 - 2 / clicks
    mean = middle + drawn.normal(size=20_000) * np.sqrt(expected)
    usual = unrelated_users._Usual.of(unrelated_users._Users(np.arange(20_000), mean, clicks))
    fitted = usual.mean[0] + usual.mean[1] / clicks
    assert fitted == pytest.approx(middle, abs=0.05)
    assert fitted.mean() == pytest.approx(middle.mean(), abs=0.02)
    assert min(usual.variance) >= 0
    found = usual.variance[0] + usual.variance[1] / clicks
    assert found == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("users", [500, 2000])
def test_users_whose_clicks_are_read_once_each_are_compared_with_such_of_their_number(
    users: int,
) -> None:
    """Related users click on the same items again: read once, they have half of the others'."""
    clicks = single_clicks(clicks_of(0.3, users=users), ITEMS)[0]
    assert UnrelatedUsers(clicks, ITEMS).share == pytest.approx(0.3, abs=0.05)


def test_testing_draws_no_random_numbers_and_gives_the_same_again() -> None:
    clicks, before = clicks_of(0.3), torch.get_rng_state()
    first, again = (UnrelatedUsers(clicks, ITEMS).sound(clicks.user) for _ in "12")
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("model", ["GRU4Rec", "WideDeep", "BPR"])
def test_users_who_were_planted_weigh_next_to_nothing_from_the_first_epoch_on(
    model: str, tmp_path: Any
) -> None:
    keys = {"weighting": "atjt", "plant": "users:0.3", "epochs": 1, "loss_type": "CE"}
    keys |= {"user_inter_num_interval": "[40,200]", "MAX_ITEM_LIST_LENGTH": 5}
    keys |= {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "uni20"}}
    if model == "WideDeep":
        keys["loss_type"] = "BCE"
    ready = assemble(DenoisingConfig(model, "ml-100k", None, keys), tmp_path)
    ready.trainer.fit(ready.train_data, None, verbose=False, saved=False)
    epoch = ready.trainer.history[0]
    assert epoch["false_positive"] < 0.1
    assert epoch["true_positive"] > 0.95
    share = 1 - (1 - epoch["weighted_share"]) / (1 - 0.3)
    assert abs(share) < 0.1
