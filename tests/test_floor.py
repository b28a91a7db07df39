"""The share of noise by neighbours: the floor of a regression, and when it says nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_atjt.weighting import floor
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.floor import Floor, floor_of

ITEMS = 121


def clicks_with(noise: float, seed: int = 0, users: int = 800) -> Clicks:
    """Return clicks of users who like a tenth of the items each, and click on any now and then."""
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(1, users + 1), 20)
    taste = 10 * drawn.integers(0, (ITEMS - 1) // 10, len(user)) + user % 10 + 1
    any_item = drawn.integers(1, ITEMS, len(user))
    item = np.where(drawn.random(len(user)) < noise, any_item, taste)
    return Clicks(torch.from_numpy(user), torch.from_numpy(item))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_the_floor_of_known_densities_is_found(share: float) -> None:
    """Drawn items are N(0, 1) and clean clicks N(2, 1), whose ratio is exp(2 x - 2)."""
    drawn = np.random.default_rng(0)
    count = 20_000
    clean = drawn.normal(size=count) + 2 * (drawn.random(count) >= share)
    value, label = np.append(clean, drawn.normal(size=count)), np.arange(2 * count) < count
    found, log_clean = floor._fitted(value[:, None], label)
    assert found == pytest.approx(share, abs=0.03)
    near = np.abs(value) < 1
    assert log_clean[near] == pytest.approx(2 * value[near] - 2, abs=0.5)


@pytest.mark.parametrize("noise", [0.3, 0.4])
def test_the_share_of_noise_in_clicks_is_found(noise: float) -> None:
    # A tenth of the noise falls on items of the user's own taste.
    assert floor_of(clicks_with(noise), ITEMS).noise == pytest.approx(0.9 * noise, abs=0.08)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_little_noise_is_none(noise: float) -> None:
    assert floor_of(clicks_with(noise), ITEMS).noise == 0


def test_clicks_that_depend_on_nothing_tell_nothing() -> None:
    assert floor_of(clicks_with(1.0), ITEMS).noise == 0


@pytest.mark.parametrize(
    ("share", "telling", "noise", "none"),
    [
        (0.3, 0.75, 0.3, False),
        (0.3, 0.65, 0.0, False),
        (0.1, 0.9, 0.0, False),
        (0.02, 0.75, 0.0, False),
        (0.02, 0.85, 0.0, True),
    ],
)
def test_between_noise_and_none_nothing_is_said(
    share: float, telling: float, noise: float, none: bool
) -> None:
    found = Floor(share, telling)
    assert (found.noise, found.shows_none) == (noise, none)


def test_none_is_shown_where_there_is_none_and_not_where_it_is_drawn_otherwise() -> None:
    assert floor_of(clicks_with(0.0), ITEMS).shows_none
    for noise in (0.3, 1.0):
        assert not floor_of(clicks_with(noise), ITEMS).shows_none


@pytest.mark.parametrize("users", [[], [1], [1, 2, 3]])
def test_without_neighbours_nothing_is_known(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    assert floor_of(Clicks(user, torch.ones_like(user)), 3) == Floor(0.0, 0.5)


def test_asking_gives_the_same_again_and_draws_no_random_numbers() -> None:
    clicks, before = clicks_with(0.3), torch.get_rng_state()
    assert floor_of(clicks, ITEMS) == floor_of(clicks, ITEMS)
    assert torch.equal(torch.get_rng_state(), before)
