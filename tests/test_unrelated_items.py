"""Items whose clicks have nothing to do with those beside them: how much of them, and which."""

from __future__ import annotations

import pytest
import torch

from recbole_atjt.weighting import co_occurrence
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.unrelated_items import noise_of_unrelated_items
from tests.random_users import BAIT, ITEMS, clicks_of, with_bait


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_noise_on_a_few_items_is_found_and_where(share: float) -> None:
    clicks, noisy = with_bait(share)
    shares = noise_of_unrelated_items(clicks, ITEMS)
    assert float(shares[clicks.item].mean()) == pytest.approx(share, abs=0.03)
    for item in range(1, BAIT + 1):
        there = noisy[clicks.item == item].double().mean()
        assert float(shares[item]) == pytest.approx(float(there), abs=0.1)
    assert float(shares[BAIT + 1 :].max()) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.04])
def test_little_noise_is_none(share: float) -> None:
    assert not bool(noise_of_unrelated_items(with_bait(share)[0], ITEMS).any())


def test_noise_that_is_spread_is_not_seen() -> None:
    clicks = clicks_of(0.0)
    drawn = torch.Generator().manual_seed(1)
    noisy = torch.rand(len(clicks.item), generator=drawn) < 0.3
    other = clicks.item[torch.randperm(len(clicks.item), generator=drawn)]
    spread = Clicks(clicks.user, torch.where(noisy, other, clicks.item))
    assert not bool(noise_of_unrelated_items(spread, ITEMS).any())


def test_clicks_that_depend_on_nothing_tell_nothing() -> None:
    """No item stands out then."""
    assert not bool(noise_of_unrelated_items(clicks_of(1.0), ITEMS).any())


def test_of_many_clicks_those_of_some_users_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks, _ = with_bait(0.3, users=1500)
    monkeypatch.setattr(co_occurrence, "_TESTED", len(clicks.item) // 3)
    monkeypatch.setattr(co_occurrence, "_BLOCK", 50)
    shares = noise_of_unrelated_items(clicks, ITEMS)
    assert float(shares[clicks.item].mean()) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("users", [[], [1], [1, 2, 3], [1, 1, 2]])
def test_of_few_clicks_nothing_is_known(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    found = noise_of_unrelated_items(Clicks(user, torch.ones_like(user)), 3)
    assert found.tolist() == [0, 0, 0]


def test_asking_gives_the_same_again_and_draws_no_random_numbers() -> None:
    (clicks, _), before = with_bait(0.3), torch.get_rng_state()
    first, again = (noise_of_unrelated_items(clicks, ITEMS) for _ in "12")
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
