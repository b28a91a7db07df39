"""Kinds of noise on bare arrays: worked by hand, and laws over all of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_atjt.errors import UsageError
from recbole_atjt.noise import KINDS, Clicks, Corrupted, Plan, corrupt, read_plan
from recbole_atjt.noise.insertion import Growth, times_between
from recbole_atjt.noise.items import bait_of, draw_other
from recbole_atjt.noise.kinds import REPLACING
from recbole_atjt.noise.similar import neighbors

SHARES = st.floats(0.05, 0.95)
SEEDS = st.integers(0, 2**40)


def clicks_of(*sequences: list[int], n_items: int = 0) -> Clicks:
    """Return the clicks of users 3, 4, ..., one sequence of items each."""
    users = np.repeat(np.arange(3, 3 + len(sequences)), [len(s) for s in sequences])
    items = np.array(list(itertools.chain(*sequences)))
    return Clicks(users, items, n_items or int(items.max()) + 1)


@st.composite
def any_clicks(draw: Any) -> Clicks:
    n_items = draw(st.integers(4, 12))
    item = st.integers(1, n_items - 1)
    sequences = draw(st.lists(st.lists(item, min_size=1, max_size=9), min_size=1, max_size=6))
    return clicks_of(*sequences, n_items=n_items)


def many_clicks(seed: int = 0, users: int = 200, n_items: int = 101) -> Clicks:
    """Return clicks whose items' frequencies fall as 1 / rank, all items clicked."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_items)
    size = rng.integers(5, 60, users)
    items = rng.choice(n_items - 1, size.sum(), p=chance / chance.sum()) + 1
    return Clicks(np.repeat(np.arange(1, users + 1), size), items, n_items)


def try_corrupt(clicks: Clicks, shares: dict[str, float], seed: int = 0) -> Corrupted:
    try:
        return corrupt(clicks, Plan(shares, seed, 2))
    except UsageError:
        assume(False)
        raise


def expected_count(clicks: Clicks, kind: str, share: float) -> int:
    return 2 * round(share * len(clicks) / 2) if kind == "swap" else round(share * len(clicks))


@pytest.mark.parametrize("kind", REPLACING)
@given(any_clicks(), SHARES, SEEDS)
def test_the_truth_is_where_items_differ(
    kind: str, clicks: Clicks, share: float, seed: int
) -> None:
    before = clicks.items.copy()
    found = try_corrupt(clicks, {kind: share}, seed)
    assert (clicks.items == before).all()
    assert ((found.items != before) == found.noise).all()
    assert found.items.min() >= 1
    assert found.items.max() < clicks.n_items
    assert not len(found.after)
    if kind != "users":
        assert found.noise.sum() == expected_count(clicks, kind, share)


@given(any_clicks(), SHARES, SEEDS)
def test_users_are_noisy_wholly_or_not_at_all(clicks: Clicks, share: float, seed: int) -> None:
    found = try_corrupt(clicks, {"users": share}, seed)
    noisy = [set(found.noise[clicks.users == user]) for user in np.unique(clicks.users)]
    assert all(len(values) == 1 for values in noisy)
    assert noisy.count({True}) == round(share * len(noisy))


@given(any_clicks(), SHARES, SEEDS)
def test_bursts_are_runs_on_two_items(clicks: Clicks, share: float, seed: int) -> None:
    found = try_corrupt(clicks, {"burst": share}, seed)
    short = 0
    for user in np.unique(clicks.users):
        rows = np.flatnonzero(found.noise & (clicks.users == user))
        if len(rows):
            assert (np.diff(rows) == 1).all()
            assert len(set(found.items[rows])) <= 2
            short += len(rows) < 0.5 * (clicks.users == user).sum()
    assert short <= 1  # the last is cut so that the number is exact


def test_bursts_strike_few_users() -> None:
    clicks = many_clicks()
    found = corrupt(clicks, Plan({"burst": 0.1}))
    hit = len(np.unique(clicks.users[found.noise]))
    assert hit < 0.3 * 200
    scattered = corrupt(clicks, Plan({"uniform": 0.1}))
    assert len(np.unique(clicks.users[scattered.noise])) > 0.8 * 200


@given(any_clicks(), SHARES, SEEDS)
def test_swaps_exchange_neighbors(clicks: Clicks, share: float, seed: int) -> None:
    found = try_corrupt(clicks, {"swap": share}, seed)
    rows = np.flatnonzero(found.noise)
    assert (rows[1::2] - rows[::2] == 1).all()
    assert (clicks.users[rows[1::2]] == clicks.users[rows[::2]]).all()
    assert (found.items[rows[1::2]] == clicks.items[rows[::2]]).all()
    assert (found.items[rows[::2]] == clicks.items[rows[1::2]]).all()


def test_swaps_start_anywhere() -> None:
    clicks = clicks_of(*([1, 2, 3, 4, 5, 6] for _ in range(100)))
    first = np.flatnonzero(corrupt(clicks, Plan({"swap": 0.3})).noise)[::2] % 6
    assert set(first) == {0, 1, 2, 3, 4}


def test_swap_by_hand() -> None:
    """Of [1, 2 | 5, 5, 6] only (1, 2) and (5, 6) can be swapped."""
    found = corrupt(clicks_of([1, 2], [5, 5, 6]), Plan({"swap": 0.8}))
    assert found.items.tolist() == [2, 1, 5, 6, 5]
    assert found.noise.tolist() == [True, True, False, True, True]
    with pytest.raises(UsageError, match="asks for 2 pairs of neighboring clicks, and there are 1"):
        corrupt(clicks_of([1, 2], [5, 5, 5]), Plan({"swap": 0.8}))


@given(any_clicks(), SHARES, SEEDS)
def test_insertions_follow_clicks_of_users_that_go_on(
    clicks: Clicks, share: float, seed: int
) -> None:
    found = try_corrupt(clicks, {"insert": share}, seed)
    assert (found.items == clicks.items).all()
    assert not found.noise.any()
    assert len(found.after) == len(found.added) == round(share * len(clicks))
    assert (np.diff(found.after) >= 0).all()
    assert (clicks.users[found.after] == clicks.users[found.after + 1]).all()
    assert ((found.added >= 1) & (found.added < clicks.n_items)).all()
    assert (found.added != clicks.items[found.after]).all()


def test_rows_move_by_hand() -> None:
    growth = Growth(4, np.array([0, 0, 2]))
    assert growth.source.tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert growth.added.tolist() == [1, 2, 5]
    assert growth.moved(np.arange(4)).tolist() == [0, 3, 4, 6]


def test_times_by_hand() -> None:
    after, first, last = np.array([4, 4, 7]), np.array([10, 10, 5]), np.array([20, 20, 5])
    assert times_between(first, last, after).tolist() == [13, 16, 5]
    floats = times_between(first.astype(np.float64), last.astype(np.float64), after)
    assert floats == pytest.approx([10 + 10 / 3, 10 + 20 / 3, 5])


@given(st.lists(st.tuples(st.floats(0, 2e9, width=32), st.floats(0, 1e6, width=32)), min_size=1),
       st.data())  # fmt: skip
def test_times_keep_the_order(ends: list[tuple[float, float]], data: Any) -> None:
    count = data.draw(st.lists(st.integers(1, 4), min_size=len(ends), max_size=len(ends)))
    first = np.array([begin for begin, _ in ends], dtype=np.float32)
    last = first + np.array([span for _, span in ends], dtype=np.float32)
    after = np.repeat(np.arange(len(ends)), count)
    times = times_between(first[after], last[after], after)
    assert times.dtype == np.float32
    for gap in range(len(ends)):
        inside = [first[gap], *times[after == gap], last[gap]]
        assert (np.diff(inside) >= 0).all()


@given(st.dictionaries(st.sampled_from(KINDS), st.floats(0.02, 0.12), min_size=2), SEEDS)
def test_kinds_strike_disjoint_clicks(shares: dict[str, float], seed: int) -> None:
    clicks = many_clicks(users=40)
    found = corrupt(clicks, Plan(shares, seed, 5))
    assert ((found.items != clicks.items) == found.noise).all()
    parts = [
        expected_count(clicks, k, s) for k, s in shares.items() if k not in ("users", "insert")
    ]
    whole = corrupt(clicks, Plan({k: s for k, s in shares.items() if k == "users"}, seed))
    assert found.noise.sum() == sum(parts) + whole.noise.sum()
    reverse = corrupt(clicks, Plan(dict(reversed(shares.items())), seed, 5))
    assert (reverse.items == found.items).all()


def test_a_seed_gives_its_noise() -> None:
    clicks, plan = many_clicks(), Plan(dict.fromkeys(KINDS, 0.1), 3)
    first, second = corrupt(clicks, plan), corrupt(clicks, plan)
    assert (first.items == second.items).all()
    assert (first.added == second.added).all()
    other = corrupt(clicks, Plan(plan.shares, 4))
    assert (other.items != first.items).mean() > 0.3


def test_draws_by_hand() -> None:
    draws = draw_other(
        np.array([1, 1, 2, 3]), np.repeat([1, 3, 9], 30_000), np.random.default_rng(0)
    )
    expected = ([0, 0, 1 / 2, 1 / 2], [0, 2 / 3, 1 / 3, 0], [0, 1 / 2, 1 / 4, 1 / 4])
    for found, chances in zip(draws.reshape(3, -1), expected):
        shares = np.bincount(found, minlength=4) / len(found)
        assert shares == pytest.approx(chances, abs=0.015)
        assert (shares[np.array(chances) == 0] == 0).all()
    with pytest.raises(UsageError, match="no other item"):
        draw_other(np.array([4, 4]), np.array([2, 4]), np.random.default_rng(0))


def shares_of(found: Corrupted, n_items: int) -> np.ndarray:
    planted = np.bincount(found.items[found.noise], minlength=n_items)
    return planted / planted.sum()


def test_what_is_planted_follows_its_law() -> None:
    clicks = many_clicks(users=1500)
    frequency = np.bincount(clicks.items, minlength=101) / len(clicks)
    assert frequency[1] > 15 * frequency[80]
    popular = shares_of(corrupt(clicks, Plan({"popular": 0.5})), 101)
    # what a click draws is not its own: chance of y is f_y (1 - f_y) (1 + ...), a bit below f_y
    assert np.corrcoef(popular, frequency)[0, 1] > 0.99
    users = shares_of(corrupt(clicks, Plan({"users": 0.5})), 101)
    assert np.corrcoef(users, frequency)[0, 1] > 0.99
    uniform = shares_of(corrupt(clicks, Plan({"uniform": 0.5})), 101)
    assert uniform[1:] == pytest.approx(np.full(100, 0.01), abs=0.0035)


def test_clickbait_is_of_middling_popularity() -> None:
    clicks = many_clicks(users=1500)
    ranked = np.argsort(-np.bincount(clicks.items, minlength=101), kind="stable")
    for count in (2, 7, 30, 40):
        found = corrupt(clicks, Plan({"clickbait": 0.3}, items=count))
        bait = set(found.items[found.noise])
        assert len(bait) == count
        assert bait <= set(ranked[10:50])
    with pytest.raises(UsageError, match=r"plant_items=41 is out of range: 40 items lie between"):
        corrupt(clicks, Plan({"clickbait": 0.3}, items=41))
    rng = np.random.default_rng(0)
    assert set(bait_of(clicks, rng, 40)) == set(ranked[10:50])


def test_neighbors_by_hand() -> None:
    """Item 1 has users a, b, c; 2 a, b; 3 c: cos(1, 2) = 2/sqrt(6), cos(1, 3) = 1/sqrt(3)."""
    clicks = clicks_of([1, 2, 2], [1, 2], [1, 3], [4], n_items=6)
    found = neighbors(clicks, np.array([1, 2, 3, 4]), 20)
    assert found.tolist() == [[2, 3, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5]


def test_neighbors_are_not_merely_popular() -> None:
    """Item 1 is in 2 of its 2 users' clicks with 3 (5 users), in 1 with 2 (1 user): .632 < .707."""
    clicks = clicks_of([1, 2, 3], [1, 3], [3], [3], [3])
    assert neighbors(clicks, np.array([1]), 1).tolist() == [[2]]


def test_similar_by_hand() -> None:
    """The nearest of 1 is 2, that of 2 and 3 is 1; who knows all the near ones gets the nearest."""
    clicks = clicks_of([1, 2], [1, 2], [1, 3], [4], n_items=6)
    found = corrupt(clicks, Plan({"similar": 0.99}))
    # a and b know 2, so item 1 becomes 3, which they do not know; c knows 3 and gets 2
    assert found.items[:6].tolist() == [3, 1, 3, 1, 2, 1]
    assert found.items[6] != 4


def test_similar_is_near() -> None:
    """Two camps of users and items: what replaces an item is of its camp."""
    rng = np.random.default_rng(0)
    users, camp = np.repeat(np.arange(60), 8), np.repeat(np.arange(60) % 2, 8)
    items = 1 + 20 * camp + np.concatenate([rng.permutation(20)[:8] for _ in range(60)])
    clicks = Clicks(users, items, 41)
    similar = corrupt(clicks, Plan({"similar": 0.4}))
    assert ((similar.items > 20) == camp)[similar.noise].all()
    uniform = corrupt(clicks, Plan({"uniform": 0.4}))
    assert 0.3 < ((uniform.items > 20) == camp)[uniform.noise].mean() < 0.7
    known = set(zip(users, items))
    new = [(u, i) not in known for u, i in zip(users[similar.noise], similar.items[similar.noise])]
    assert all(new)


def test_too_much_is_refused() -> None:
    clicks = clicks_of([1, 2, 3, 4, 5, 6], [1, 2], [3, 4])
    corrupt(clicks, Plan({"uniform": 0.5, "popular": 0.5}))
    with pytest.raises(UsageError, match="more clicks are asked for"):
        corrupt(
            clicks, Plan({"users": 0.6, "uniform": 0.5})
        )  # two users of three, then five clicks
    with pytest.raises(UsageError, match="needs a user with two training clicks"):
        corrupt(clicks_of([1], [2]), Plan({"insert": 0.9}))
    with pytest.raises(UsageError, match="no other item"):
        corrupt(clicks_of([1, 1]), Plan({"uniform": 0.9}))


def test_specs() -> None:
    assert read_plan(None) is None
    assert read_plan("uniform:0.3") == Plan({"uniform": 0.3}, 2020, 30)
    both = Plan({"insert": 0.5, "swap": 0.5}, 1, 2)
    assert read_plan(" insert:.5, swap : 5e-1", 1, 2) == both
    assert read_plan({"insert": 0.5, "swap": 0.5}, 1, 2) == both


@pytest.mark.parametrize(
    ("given_", "line"),
    [
        (("unifrom:0.3",), "plant=unifrom:0.3: kind 'unifrom' is unknown, did you mean 'uniform'?"),
        (
            ("uniform:0",),
            "plant=uniform:0: the share of uniform is '0'; it must be a number inside",
        ),
        (("swap:1",), "the share of swap is '1'"),
        (("swap:nan",), "the share of swap is 'nan'"),
        (("swap:x",), "the share of swap is 'x'"),
        (({"swap": True},), "the share of swap is 'True'"),
        (("uniform",), "'uniform' is not of the form KIND:SHARE"),
        (("uniform:0.1,",), "'' is not of the form KIND:SHARE"),
        ((0.3,), "plant=0.3 is not of the form KIND:SHARE"),
        (({},), "plant={} is not of the form"),
        (("swap:0.1,swap:0.2",), "names swap twice"),
        (("swap:0.6,users:0.5",), "the shares sum to 1.1, above 1"),
        (("swap:0.6", -1), "plant_seed=-1 is out of range: it must be at least 0"),
        (("swap:0.6", "a"), "plant_seed=a is not a whole number"),
        (("swap:0.6", 1, 1), "plant_items=1 is out of range: it must be at least 2"),
        ((None, 1, True), "plant_items=True is not a whole number"),
    ],
)
def test_wrong_specs(given_: tuple[Any, ...], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_plan(*given_)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
