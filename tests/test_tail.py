"""What the tail of a test of independence says of the noise in clicks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recbole_atjt.weighting.tail import (
    CLEAN_IN_TAIL,
    TAIL,
    independent,
    noise_of_items,
    standard_error,
)


def expected_tail(noise: Tensor, clicks: Tensor) -> Tensor:
    """Return how many of clicks are in the tail, of which these shares are noise."""
    return TAIL * (noise + (1 - noise) * CLEAN_IN_TAIL) * clicks


def drawn(noise: Tensor, clicks: Tensor) -> Tensor:
    """Return such a number as chance gives it."""
    rate = expected_tail(noise, torch.ones_like(noise))
    generator = torch.Generator().manual_seed(1)
    return torch.binomial(clicks, rate, generator=generator)


@pytest.mark.parametrize("noisy", [0.0, 0.2, 1.0])
def test_the_share_of_independent_clicks_by_hand(noisy: float) -> None:
    """A tenth of the noise is in the tail, and a twentieth of a tenth of the clean clicks."""
    tail = 1000 * 0.1 * (noisy + (1 - noisy) * 0.05)
    found = independent(torch.tensor(tail), torch.tensor(1000.0))
    assert found.item() == pytest.approx(noisy, abs=1e-6)


def test_the_standard_error_by_hand() -> None:
    """A tail of 24 of 400 is .06 +- sqrt(.06 * .94 / 400); a share is 1 / (.1 * .95) of that."""
    found = standard_error(torch.tensor([24.0, 0.0, 0.0]), torch.tensor([400.0, 400.0, 0.0]))
    expected = [math.sqrt(0.06 * 0.94 / 400) / 0.095, math.sqrt(0.0025 * 0.9975 / 400) / 0.095, 0.0]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_items_with_many_clicks_hold_what_their_own_tail_says() -> None:
    noise = torch.tensor([0.0, 0.0, 1.0, 0.4, 0.0]).double()
    clicks = torch.tensor([0.0, 4e5, 4e5, 4e5, 4e5]).double()
    found = noise_of_items(expected_tail(noise, clicks), clicks, clicks)
    assert found.tolist() == pytest.approx(noise.tolist(), abs=1e-3)


def test_chance_in_the_tails_of_rare_items_is_not_believed() -> None:
    """All items hold .3, and ten clicks of each say little: what all hold is found for each."""
    clicks = torch.full((3000,), 10.0).double()
    tail = drawn(torch.full((3000,), 0.3).double(), clicks)
    found = noise_of_items(tail, clicks, clicks)
    alone = independent(tail, clicks)
    assert float(found.mean()) == pytest.approx(float(alone.mean()), abs=0.01)
    assert float((found - 0.3).abs().mean()) < 0.05
    assert float((alone - 0.3).abs().mean()) > 0.5


def test_noise_that_is_drawn_alike_is_most_of_the_clicks_on_rare_items() -> None:
    """Six noisy clicks on each item, and from 6 to 60 clean ones."""
    clean = torch.logspace(0, 1, 2000).double().mul(6).round()
    clicks = clean + 6
    truth = 6 / clicks
    found = noise_of_items(drawn(truth, clicks), clicks, clicks)
    rare, frequent = slice(0, 400), slice(1600, 2000)
    for part in (rare, frequent):
        mean = float((truth[part] * clicks[part]).sum() / clicks[part].sum())
        assert float((found[part] * clicks[part]).sum() / clicks[part].sum()) == pytest.approx(
            mean, abs=0.07
        )
    assert float(((found - truth) * clicks).sum() / clicks.sum()) == pytest.approx(0.0, abs=0.02)


def test_items_that_noise_fell_on_alone_stand_out() -> None:
    clicks = torch.full((1000,), 60.0).double()
    truth = torch.zeros(1000).double()
    truth[::50] = 1.0
    found = noise_of_items(drawn(truth, clicks), clicks, clicks)
    assert float(found[::50].mean()) > 0.8
    truth[::50] = 0.0
    assert float(found[truth == 0].mean()) < 0.05


def test_an_item_that_was_not_compared_is_like_its_part() -> None:
    clicks = torch.full((1001,), 40.0).double()
    truth = torch.full((1001,), 0.5).double()
    compared = clicks.clone()
    compared[500] = 0.0
    found = noise_of_items(drawn(truth, compared), compared, clicks)
    assert float(found[500]) == pytest.approx(float(found.mean()), abs=0.05)


def test_where_even_clean_clicks_are_not_in_the_tail_there_is_none() -> None:
    clicks = torch.full((500,), 100.0).double()
    clicks[0] = 0.0
    assert float(noise_of_items(torch.zeros(500).double(), clicks, clicks).max()) == 0.0
