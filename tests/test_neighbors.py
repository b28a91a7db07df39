"""Neighbours in other users' clicks: counts against a naive loop, calibration, what is known."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from recbole_atjt.weighting import co_occurrence, neighbors
from recbole_atjt.weighting.co_occurrence import CLOSE, FAR, Clicks, Scale
from recbole_atjt.weighting.mixture import NoiseMixture
from recbole_atjt.weighting.neighbors import Neighbors
from tests.random_users import random_clicks, weighed

ITEMS = 30


def tasteful_clicks(noise: float, seed: int = 0, users: int = 400) -> tuple[Clicks, Tensor]:
    """Return clicks of users who each like a third of the items, and which of them are noise."""
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(1, users + 1), 20)
    item = 3 * drawn.integers(0, (ITEMS - 3) // 3, len(user)) + user % 3 + 1
    noisy = drawn.random(len(user)) < noise
    item = np.where(noisy, drawn.integers(1, ITEMS, len(user)), item)
    return Clicks(torch.from_numpy(user), torch.from_numpy(item)), torch.from_numpy(noisy)


def naive_lifts(
    clicks: Clicks, weight: list[float], source: list[int] | None, scale: Scale
) -> list[float]:
    """Return the lift of each click, or of other clicks' items in its place, by loops."""
    user, item = clicks.user.tolist(), clicks.item.tolist()

    def pairs(place: int) -> list[tuple[int, float]]:
        near = range(max(0, place - scale.reach), min(len(user), place + scale.reach + 1))
        return [
            (other, math.exp(-abs(place - other) / scale.near))
            for other in near
            if other != place and user[other] == user[place]
        ]

    @cache
    def counts(without: frozenset[int]) -> tuple[dict[Any, float], dict[int, float]]:
        together: dict[Any, float] = defaultdict(float)
        alone: dict[int, float] = defaultdict(float)
        for place in range(len(user)):
            for other, near in pairs(place) if user[place] not in without else ():
                mass = near * weight[place] * weight[other]
                alone[item[place]] += mass
                together[frozenset((item[place], item[other]))] += mass / 2
        return together, alone

    found = []
    for place in range(len(user)):
        origin = place if source is None else source[place]
        together, alone = counts(frozenset((user[place], user[origin])))
        total, sums, here = sum(alone.values()), [0.0, 0.0], item[origin]
        for other, near in pairs(place):
            there, sum_of_weights = item[other], near * weight[other]
            expected = alone[here] * alone[there] / total
            lift = math.log((together[frozenset((here, there))] + 1) / (expected + 1))
            sums[0] += sum_of_weights * (0.0 if here == there else lift)
            sums[1] += sum_of_weights
        found.append(sums[0] / sums[1] if sums[1] else math.nan)
    return found


@pytest.mark.parametrize("scale", [CLOSE, FAR, Scale(2, 1.0)])
@pytest.mark.parametrize("block", [1, 10, 1000])
def test_lifts_are_those_of_a_naive_loop(
    block: int, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(co_occurrence, "_BLOCK", block)
    clicks = weighed(random_clicks())
    counts = co_occurrence.Counts.of(clicks, ITEMS, scale)
    weight = clicks.weight.tolist()
    found = counts.lifts(clicks, None, own=True)
    assert found.tolist() == pytest.approx(naive_lifts(clicks, weight, None, scale), nan_ok=True)
    assert len(list(co_occurrence.blocks(clicks.user))) == {1: 12, 10: 4, 1000: 1}[block]
    monkeypatch.undo()
    source = torch.randperm(len(weight), generator=torch.Generator().manual_seed(5))
    found = counts.lifts(clicks, source, own=True)
    expected = naive_lifts(clicks, weight, source.tolist(), scale)
    assert found.tolist() == pytest.approx(expected, nan_ok=True)


def test_of_large_data_every_so_many_users_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks = random_clicks(40)
    monkeypatch.setattr(co_occurrence, "_COUNTED", len(clicks.item) - 1)
    counts = co_occurrence.Counts.of(co_occurrence.WeighedClicks.of(clicks), ITEMS)
    monkeypatch.undo()
    even = clicks.user % 2 == 0
    half = co_occurrence.WeighedClicks.of(Clicks(clicks.user[even], clicks.item[even]))
    expected = co_occurrence.Counts.of(half, ITEMS)
    assert counts.step == 2
    assert torch.equal(counts.keys, expected.keys)
    assert torch.allclose(counts.together, expected.together)
    found = counts.lifts(co_occurrence.WeighedClicks.of(clicks), None, own=True)
    odd = co_occurrence.WeighedClicks.of(Clicks(clicks.user[~even], clicks.item[~even]))
    assert found[even].allclose(expected.lifts(half, None, own=True), equal_nan=True)
    assert found[~even].allclose(expected.lifts(odd, None, own=False), equal_nan=True)


@pytest.mark.parametrize("resemblance", [False, True])
@pytest.mark.parametrize("block", [2000, 2**17])
def test_noise_is_told_from_taste(
    block: int, resemblance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(co_occurrence, "_BLOCK", block)
    clicks, noisy = tasteful_clicks(0.3)
    ratio = Neighbors(clicks, ITEMS, resemblance).log_ratio(clicks.user, clicks.item)
    assert not bool(ratio.isnan().any())
    rank = rankdata(-ratio.numpy())
    found, missed = int(noisy.sum()), int((~noisy).sum())
    auroc = (rank[noisy.numpy()].sum() - found * (found + 1) / 2) / (found * missed)
    # A third of the noise falls on items of the user's own taste: at most 1 - 1/3 / 2.
    assert auroc > 0.8
    # Where only noise is left, p_o / f is its share.
    assert float(ratio[noisy].exp().quantile(0.3)) == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize(("resemblance", "users"), [(False, 400), (True, 1600)])
def test_clicks_that_depend_on_nothing_say_nothing(resemblance: bool, users: int) -> None:
    clicks, _ = tasteful_clicks(1.0, users=users)
    ratio = Neighbors(clicks, ITEMS, resemblance).log_ratio(clicks.user, clicks.item)
    assert float(ratio.abs().mean()) < 0.1


def test_a_user_has_no_say_about_himself() -> None:
    """Clicks that one user makes again and again beside each other lift nothing of his."""
    clicks, _ = tasteful_clicks(0.0)
    strange = torch.tensor([1, 2] * 40)
    joined = Clicks(
        torch.cat((clicks.user, torch.full((80,), 1000))), torch.cat((clicks.item, strange))
    )
    every = co_occurrence.WeighedClicks.of(joined)
    lift = co_occurrence.Counts.of(every, ITEMS).lifts(every, None, own=True)
    assert float(lift[-80:].max()) < 0 < float(lift[:-80].mean())


@pytest.mark.parametrize("resemblance", [False, True])
def test_other_users_are_read_by_what_was_counted(resemblance: bool) -> None:
    clicks, _ = tasteful_clicks(0.2)
    others, _ = tasteful_clicks(0.2, seed=1, users=90)
    others = Clicks(others.user + 5000, others.item)
    reads = Neighbors(clicks, ITEMS, resemblance)
    own = reads.log_ratio(clicks.user, clicks.item)
    reads.know(others)
    assert bool(reads.log_ratio(clicks.user, clicks.item).isnan().all())
    theirs = reads.log_ratio(others.user, others.item)
    assert not bool(theirs.isnan().any())
    assert float(theirs.mean()) == pytest.approx(float(own.mean()), abs=0.1)
    reads.know(Clicks(others.user[:20], others.item[:20]))
    assert torch.equal(reads.log_ratio(others.user[:20], others.item[:20]), theirs[:20])


def test_what_is_not_known_is_no_number() -> None:
    clicks = Clicks(torch.tensor([1, 2, 2, 3, 3]), torch.tensor([1, 2, 3, 2, 3]))
    ratio = Neighbors(clicks, 5).log_ratio(torch.tensor([1, 2, 2, 9]), torch.tensor([1, 3, 4, 1]))
    assert ratio.isnan().tolist() == [True, False, True, True]


@pytest.mark.parametrize("users", [[], [1], [1, 2, 3]])
def test_without_neighbours_nothing_is_known(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    reads = Neighbors(Clicks(user, torch.ones_like(user)), 3, resemblance=True)
    asked = torch.tensor([1, 2])
    assert bool(reads.log_ratio(asked, torch.ones_like(asked)).isnan().all())


def test_asking_draws_no_random_numbers_and_gives_the_same_again() -> None:
    clicks, _ = tasteful_clicks(0.3)
    before = torch.get_rng_state()
    first, again = (Neighbors(clicks, ITEMS).log_ratio(clicks.user, clicks.item) for _ in "12")
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def mixture(share: float) -> NoiseMixture:
    made = NoiseMixture(torch.tensor([0, 1, 1, 2]), share, False, 0.6, 0.1)
    made.noise.copy_(torch.tensor([0.0, 0.5, 0.25, 0.25]))
    return made


def test_neighbours_are_pooled_with_the_likelihood_by_hand() -> None:
    made = mixture(0.2)
    item, ratio = torch.tensor([1, 3]), torch.tensor([1.0, -2.0])
    near = torch.tensor([math.log(2.0), math.nan])
    frequency = 1.5 / 5.5
    noisy = 0.2 * 0.5 / frequency
    of_item = math.log((frequency - 0.1) / 0.8 / 0.5)
    expected = of_item + 0.5 * (1.0 - of_item) + math.log((2 - noisy) / (1 - noisy))
    assert made.pooled(item, ratio, near).tolist() == pytest.approx([expected, -2.0], rel=1e-5)


def test_neighbours_alone_give_the_share_that_is_no_noise() -> None:
    """Where the likelihood says what the item says, P(clean) is 1 - e_y f / p_o."""
    made = mixture(0.2)
    item = torch.tensor([2])
    ratio, near = made._of_item(item, torch.zeros(1)), torch.tensor([math.log(3.0)])
    found = made.posterior(made.pooled(item, ratio, near))
    assert found.item() == pytest.approx(1 - 0.2 * 0.25 / (1.5 / 5.5) / 3, rel=1e-5)


def test_of_an_item_that_is_mostly_noise_half_is_reckoned_with() -> None:
    """What neighbours say of it would be their error, divided by how little is clean."""
    made = mixture(0.9)
    item, near = torch.tensor([1]), torch.tensor([math.log(1.5)])
    ratio = made._of_item(item, torch.zeros(1))
    found = made.pooled(item, ratio, near) - ratio
    assert found.item() == pytest.approx(math.log((1.5 - 0.5) / 0.5), rel=1e-5)


def test_the_regression_finds_known_factors() -> None:
    drawn = np.random.default_rng(0)
    features = np.stack((np.ones(20_000), 3 + 2 * drawn.random(20_000), drawn.normal(size=20_000)))
    known = np.array([-4.0, 1.0, 0.5])
    label = (drawn.random(20_000) < 1 / (1 + np.exp(-known @ features))).astype(float)
    found = neighbors._regressed(features.T, label)
    assert found == pytest.approx(known, abs=0.2)
