"""Clicks that users repeat again and again: which of them have nothing to do with their others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_atjt.weighting import co_occurrence
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.repeats import as_neighbors_read, repeats_of, single_clicks
from recbole_atjt.weighting.unrelated_repeats import UnrelatedRepeats
from tests.random_users import ITEMS, clicks_of, once, struck, with_bait


def repeated(clicks: Clicks, part: float, times: int = 8) -> tuple[Clicks, Tensor]:
    """Return clicks with one more of a part of all, so many times, and which these are.

    A click is repeated at its place, on its own item.
    """
    drawn = np.random.default_rng(2)
    count = np.where(drawn.random(len(clicks.user)) < part, times, 1)
    user, item = (np.repeat(each.numpy(), count) for each in (clicks.user, clicks.item))
    again = np.repeat(count > 1, count)
    return Clicks(torch.from_numpy(user), torch.from_numpy(item)), torch.from_numpy(again)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_clicks_that_strike_a_random_item_again_and_again_are_found(share: float) -> None:
    clicks, noisy = struck(share)
    found = UnrelatedRepeats(clicks, ITEMS)
    assert found.share == pytest.approx(share, abs=0.02)
    sound = found.sound(clicks.user, clicks.item)
    assert float(sound[noisy].mean()) < 0.15
    assert float(sound[~noisy].mean()) > 0.97


def test_what_users_love_they_may_repeat() -> None:
    clicks, again = repeated(once(), 0.1)
    assert float(again.double().mean()) > 0.4
    assert UnrelatedRepeats(clicks, ITEMS).share == 0


def test_where_both_are_those_without_interest_weigh_less() -> None:
    clicks, noisy = struck(0.3)
    key = clicks.user * ITEMS + clicks.item
    both, _ = repeated(clicks, 0.05)
    without = torch.isin(both.user * ITEMS + both.item, key[noisy])
    found = UnrelatedRepeats(both, ITEMS)
    sound = found.sound(both.user, both.item)
    assert found.share > 0.15
    assert float(sound[without].mean()) < 0.5 * float(sound[~without].mean())


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_little_is_none(share: float) -> None:
    clicks, _ = struck(share)
    found = UnrelatedRepeats(clicks, ITEMS)
    assert found.share == 0
    assert found.sound(clicks.user, clicks.item).tolist() == [1.0] * len(clicks.user)


def test_single_clicks_are_never_held_for_such() -> None:
    """Of users who click on anything others tell."""
    random, clicks = clicks_of(1.0, users=100, first=9001), struck(0.3)[0]
    both = Clicks(torch.cat((clicks.user, random.user)), torch.cat((clicks.item, random.item)))
    found = UnrelatedRepeats(both, ITEMS)
    key = random.user * ITEMS + random.item
    _, place, times = torch.unique(key, return_inverse=True, return_counts=True)
    single = times[place] == 1
    assert found.share > 0.2
    assert found.sound(random.user[single], random.item[single]).tolist() == [1.0] * int(
        single.sum()
    )


def test_clicks_of_others_are_spoken_of_and_do_not_count() -> None:
    clicks, _ = struck(0.3)
    others, noisy = struck(0.4, users=60, first=9001)
    alone, beside = UnrelatedRepeats(clicks, ITEMS), UnrelatedRepeats(clicks, ITEMS, others)
    assert alone.share == beside.share
    own = alone.sound(clicks.user, clicks.item)
    assert torch.equal(own, beside.sound(clicks.user, clicks.item))
    assert alone.sound(others.user, others.item).tolist() == [1.0] * len(others.user)
    theirs = beside.sound(others.user, others.item)
    assert float(theirs[noisy].mean()) < 0.15 < 0.97 < float(theirs[~noisy].mean())


def test_of_many_clicks_those_of_some_users_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks, noisy = struck(0.3, users=1500)
    monkeypatch.setattr(co_occurrence, "_TESTED", len(clicks.item) // 3)
    monkeypatch.setattr(co_occurrence, "_BLOCK", 50)
    sound = UnrelatedRepeats(clicks, ITEMS).sound(clicks.user, clicks.item)
    assert float(sound[noisy].mean()) < 0.15 < 0.97 < float(sound[~noisy].mean())


@pytest.mark.parametrize("users", [[], [1], [1, 1, 1, 1], [1, 1, 1, 1, 2, 2, 2, 2]])
def test_of_few_clicks_nothing_is_known(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    assert UnrelatedRepeats(Clicks(user, torch.ones_like(user)), 3).share == 0


def test_asking_gives_the_same_again_and_draws_no_random_numbers() -> None:
    (clicks, _), before = struck(0.3), torch.get_rng_state()
    first, again = (
        UnrelatedRepeats(clicks, ITEMS).sound(*each) for each in [(clicks.user, clicks.item)] * 2
    )
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbours_read_one_click_of_each_where_many_are_repeated() -> None:
    few = once()
    assert as_neighbors_read(few, ITEMS) is few
    many, _ = repeated(few, 0.1)
    single = as_neighbors_read(many, ITEMS)
    assert torch.equal(single.user, few.user)
    assert torch.equal(single.item, few.item)


def test_one_click_of_each_stands_where_any_of_them_did() -> None:
    user, item = torch.tensor([2, 2, 2, 2, 1, 1, 1]), torch.tensor([5, 3, 5, 5, 3, 3, 4])
    single, times = single_clicks(Clicks(user, item), 6)
    assert sorted(single.user.tolist()[:2]) == [2, 2]
    assert dict(zip(zip(single.user.tolist(), single.item.tolist()), times.tolist())) == {
        (2, 5): 3,
        (2, 3): 1,
        (1, 3): 2,
        (1, 4): 1,
    }


def test_one_click_of_each_is_drawn_and_stands_in_the_order_of_time() -> None:
    """Not the first: of items that all click on all the time, first clicks gather."""
    users, times = 400, 20
    user = torch.arange(users).repeat_interleave(times + 1)
    item = torch.where(torch.arange(len(user)) % (times + 1) == times // 2, 2, 1)
    single, _ = single_clicks(Clicks(user, item), 3)
    assert torch.equal(single.user, torch.arange(users).repeat_interleave(2))
    before = float((single.item.view(users, 2)[:, 0] == 1).double().mean())
    assert before == pytest.approx(0.5, abs=0.1)


def test_bait_that_busy_users_repeat_is_left_to_what_items_tell() -> None:
    clicks, noisy = with_bait(0.5)
    key = clicks.user * ITEMS + clicks.item
    times = torch.unique(key[noisy], return_counts=True)[1]
    assert float(times[times >= 4].sum()) > 0.1 * len(clicks.item)
    assert repeats_of(clicks, ITEMS) is None
    assert UnrelatedRepeats(clicks, ITEMS).share == 0
    assert as_neighbors_read(clicks, ITEMS) is clicks
