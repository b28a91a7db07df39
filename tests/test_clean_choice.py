"""Which interactions are left out: worked by hand, and laws on random tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_atjt.errors import UsageError
from recbole_atjt.scoring.choice import choose

USERS = np.array(list("aaaaabbbc"))


def table(scores: list[float], users: str = "aaabbc", **more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": list(users),
            "item": [f"i{n}" for n in range(len(scores))],
            "score": scores,
            "line": range(2, 2 + len(scores)),
            **more,
        }
    )


def test_above_leaves_out_what_scores_higher() -> None:
    found = choose(table([0.9, 0.5, 0.6, 0.51, 0.2, 0.0]), USERS, above=0.5, min_user_inter=1)
    assert list(found.lines) == [2, 4, 5]
    assert (found.scored, found.spared, found.users, found.lowest) == (6, 0, 2, 0.51)


def test_share_leaves_out_the_worst() -> None:
    scores = [0.9, 0.5, 0.6, 0.51, 0.2, 0.0]
    found = choose(table(scores), USERS, share=0.5, min_user_inter=1)
    assert list(found.lines) == [2, 4, 5]
    assert list(choose(table(scores), USERS, share=0.34, min_user_inter=1).lines) == [2, 4]


def test_a_tie_is_cut_in_the_order_of_the_file_and_said() -> None:
    found = choose(table([0.7, 0.9, 0.7, 0.7, 0.1, 0.1]), USERS, share=1 / 3, min_user_inter=1)
    assert list(found.lines) == [2, 3]
    assert found.tied == 2
    assert "2 of the lowest of these scores stay" in str(found)


def test_what_is_surely_clean_stays_whatever_share_is_asked_for() -> None:
    found = choose(table([0.0, 0.3, 0.0, 0.0, 0.0, 0.0]), USERS, share=0.9, min_user_inter=1)
    assert list(found.lines) == [3]
    nothing = choose(table([0.0] * 6), USERS, share=0.9)
    assert not len(nothing.lines)
    assert "left out: 0 of 6 scored interactions (0.0%)" in str(nothing)


def test_a_user_keeps_the_minimum_and_the_best_clicks() -> None:
    scores = [0.7, 0.9, 0.8, 0.95, 0.6, 0.99]
    found = choose(table(scores), USERS, above=0.5, min_user_inter=3)
    # a has 5 clicks and may lose 2, b has 3 and c has 1: none
    assert list(found.lines) == [3, 4]
    assert found.spared == 4
    assert "4 spared for their users' minimum" in str(found)
    found = choose(table(scores), USERS, share=0.5, min_user_inter=2)
    assert list(found.lines) == [3, 5]  # of lines 7, 5 and 3: c is spared


def test_the_truth_is_said_where_it_is_known() -> None:
    known = table([0.9, 0.8, 0.1, 0.7, 0.2, 0.3], is_noise=[1, 0, 1, 1, 0, 0])
    found = choose(known, USERS, above=0.5, min_user_inter=1)
    assert (found.precision, found.recall) == pytest.approx((2 / 3, 2 / 3))
    assert "66.7% of them are noise, 66.7% of the noise" in str(found)
    assert choose(table([0.9] * 6), USERS, above=0.5).precision is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=25),
    st.lists(st.sampled_from("abcd"), max_size=8),
    st.integers(1, 6),
    st.one_of(st.floats(0.01, 0.99), st.none()),
)
def test_laws(
    rows: list[tuple[str, int]], more: list[str], minimum: int, share: float | None
) -> None:
    users = "".join(user for user, _ in rows)
    frame = table([score / 5 for _, score in rows], users)
    every = np.array([*users, *more])
    keys: dict[str, Any] = {"share": share} if share else {"above": 0.4}
    found = choose(frame, every, **keys, min_user_inter=minimum)
    out = frame["line"].isin(found.lines)
    before, left = Counter(every.tolist()), Counter(every.tolist())
    left.subtract(frame["user"][out])
    for user in before:
        assert left[user] >= min(minimum, before[user])
        own = frame["user"] == user
        if (own & out).any() and (own & ~out).any():  # a user's worst go first
            assert frame["score"][own & out].min() >= frame["score"][own & ~out].max()
    assert (frame["score"][out] > (0 if share else 0.4)).all()
    if share:
        assert out.sum() <= round(share * len(rows))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give either --above=THRESHOLD or --share=SHARE"),
        ({"above": 0.5, "share": 0.1}, "give either --above=THRESHOLD or --share=SHARE"),
        ({"above": 1}, "above=1 is out of range: it must be a number at least 0 and below 1"),
        ({"above": -0.1}, "above=-0.1 is out of range"),
        ({"above": "high"}, "above=high is out of range"),
        ({"above": True}, "above=True is out of range"),
        ({"above": float("nan")}, "above=nan is out of range"),
        ({"share": 0}, "share=0 is out of range: it must be a number above 0 and below 1"),
        ({"share": 1.0}, "share=1.0 is out of range"),
        ({"share": 0.1, "min_user_inter": 0}, "min_user_inter=0 is not a whole number of at least"),
        ({"share": 0.1, "min_user_inter": 2.5}, "min_user_inter=2.5 is not a whole number"),
    ],
)
def test_what_is_wrong_is_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        choose(table([0.5] * 6), USERS, **keys)
    assert message in str(error.value)
