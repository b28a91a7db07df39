"""Items that resemble each other: against a naive loop, who describes whom, and other solvers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import ArpackNoConvergence
from torch import Tensor

from recbole_atjt.weighting import co_occurrence, resemblance
from recbole_atjt.weighting.co_occurrence import FAR, Clicks, Scale, WeighedClicks
from recbole_atjt.weighting.resemblance import Resemblance, shuffled
from tests.random_users import random_clicks, weighed

ITEMS = 31


def tasteful_clicks(users: int = 240, seed: int = 0) -> WeighedClicks:
    """Return clicks of users who each like one of three kinds of items.

    Half of the users never click on item 1, the others never on item 4, which is of its kind.
    """
    drawn = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 20)
    item = 3 * drawn.integers(0, 10, len(user)) + user % 3 + 1
    never = np.where(user // 3 % 2 == 0, 1, 4)
    item = np.where(item == never, 7, item)
    return WeighedClicks.of(Clicks(torch.from_numpy(user), torch.from_numpy(item)))


def cosines(vectors: Tensor) -> Tensor:
    made: Tensor = vectors @ vectors.T
    return made


def test_items_resemble_each_other_by_third_ones() -> None:
    found = cosines(Resemblance.of(tasteful_clicks(), ITEMS).vectors[0])
    assert float(found[1, 4]) > 0.9  # no user has clicked on both
    assert float(found[1, 7]) > 0.9
    assert float(found[1, [2, 3, 5, 6]].max()) < 0.3


def test_items_that_nobody_clicked_on_resemble_none() -> None:
    found = Resemblance.of(tasteful_clicks(), ITEMS + 5)
    assert found.n_items == ITEMS + 5
    assert not bool(found.vectors[:, [0, *range(ITEMS, ITEMS + 5)]].any())
    assert float(found.vectors.norm(dim=2).max()) <= 1.0


@pytest.mark.parametrize("scale", [FAR, Scale(2, 1.0)])
@pytest.mark.parametrize("block", [1, 10, 1000])
def test_lifts_are_those_of_a_naive_loop(
    block: int, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = weighed(random_clicks(25))
    found = Resemblance.of(clicks, 7, scale)
    source = shuffled(clicks.user, torch.Generator().manual_seed(3))

    def naive(item: list[int]) -> list[float]:
        user, there = clicks.user.tolist(), clicks.item.tolist()
        means = []
        for place, here in enumerate(item):
            vectors = found.vectors[user[place] % len(found.vectors)].double()
            total = among = 0.0
            for other in range(max(0, place - scale.reach), place + scale.reach + 1):
                if other != place and other < len(user) and user[other] == user[place]:
                    say = math.exp(-abs(other - place) / scale.near) * float(clicks.weight[other])
                    among += say
                    if there[other] != here:
                        total += say * float(vectors[here] @ vectors[there[other]])
            means.append(total / among if among else math.nan)
        return means

    monkeypatch.setattr(co_occurrence, "_BLOCK", block)
    own = found.lifts(clicks, None, own=True)
    assert own.tolist() == pytest.approx(naive(clicks.item.tolist()), nan_ok=True, abs=1e-6)
    monkeypatch.undo()
    drawn = found.lifts(clicks, source, own=True)
    expected = naive(clicks.item[source].tolist())
    assert drawn.tolist() == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_users_do_not_describe_the_items_by_which_they_are_read() -> None:
    clicks = tasteful_clicks()
    parts = len(Resemblance.of(clicks, ITEMS).vectors)
    before = Resemblance.of(clicks, ITEMS).vectors
    other = WeighedClicks.of(Clicks(clicks.user, torch.where(clicks.user == 3, 2, clicks.item)))
    after = Resemblance.of(other, ITEMS).vectors
    same = [torch.allclose(cosines(a), cosines(b), atol=1e-5) for a, b in zip(before, after)]
    assert same == [part == 3 for part in range(parts)]


def test_drawn_clicks_are_of_users_of_the_same_part() -> None:
    user = tasteful_clicks().user
    source = shuffled(user, torch.Generator().manual_seed(0))
    assert torch.equal(source.sort().values, torch.arange(len(user)))
    parts = len(Resemblance.of(tasteful_clicks(), ITEMS).vectors)
    assert torch.equal(user[source] % parts, user % parts)
    assert float((user[source] != user).double().mean()) > 0.9


def test_of_large_data_every_so_many_users_describe_items(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks = tasteful_clicks()
    parts = len(Resemblance.of(clicks, ITEMS).vectors)
    half = clicks.within(clicks.user // parts % 2 == 0)
    expected = Resemblance.of(half, ITEMS).vectors
    monkeypatch.setattr(resemblance, "_COUNTED", len(clicks.user) - 1)
    assert torch.equal(Resemblance.of(clicks, ITEMS).vectors, expected)


def sparse_case() -> tuple[WeighedClicks, int]:
    """Return clicks on more items than are described at once."""
    drawn = np.random.default_rng(2)
    user = np.repeat(np.arange(300), 12)
    item = 20 * drawn.integers(0, 10, len(user)) + user % 20 + 1
    return WeighedClicks.of(Clicks(torch.from_numpy(user), torch.from_numpy(item))), 201


def test_sparse_and_dense_eigenvectors_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblance, "_RANK", 20)  # as many as there are kinds of items
    clicks, items = sparse_case()
    sparse = Resemblance.of(clicks, items).vectors
    monkeypatch.setattr(resemblance, "_DENSE", items)
    dense = Resemblance.of(clicks, items).vectors
    for one, other in zip(sparse, dense):
        assert torch.allclose(cosines(one), cosines(other), atol=0.01)


def test_eigenvectors_that_are_found_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks, items = sparse_case()
    whole = resemblance.eigsh

    def fails(*given: Any, **named: Any) -> Any:
        value, vector = whole(*given, **named)
        raise ArpackNoConvergence("no", value[-3:], vector[:, -3:])

    monkeypatch.setattr(resemblance, "eigsh", fails)
    vectors = Resemblance.of(clicks, items).vectors
    assert [int(each.any(0).sum()) for each in vectors] == [3] * len(vectors)


def test_describing_draws_no_random_numbers_and_gives_the_same_again() -> None:
    clicks, items = sparse_case()
    before = torch.get_rng_state(), np.random.get_state()
    first, again = (Resemblance.of(clicks, items).vectors for _ in "12")
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])


@pytest.mark.parametrize("users", [[], [1], [1, 2, 3], [1, 1]])
def test_little_tells_little(users: list[int]) -> None:
    user = torch.tensor(users, dtype=torch.long)
    clicks = WeighedClicks.of(Clicks(user, torch.arange(len(user)) + 1))
    found = Resemblance.of(clicks, 5)
    lift = found.lifts(clicks, None, own=True)
    assert lift.isnan().tolist() == [users.count(each) < 2 for each in users]
    assert not bool(found.vectors.isnan().any())
