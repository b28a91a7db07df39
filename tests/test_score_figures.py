"""How well scores tell noise: worked by hand, and against naive loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_atjt.scoring.figures import Figures, known_noise, measure


@pytest.mark.parametrize(
    ("values", "noise", "figures"),
    [
        # .9 and .7 are noise: of four pairs .7 against .8 alone is wrong
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (3 / 4, (1 + 2 / 3) / 2, 1 / 2)),
        ([0.1, 0.2, 0.3], [0, 0, 1], (1, 1, 1)),
        ([0.3, 0.2, 0.1], [0, 0, 1], (0, 1 / 3, 0)),
        ([1, 1, 0, 0], [1, 0, 1, 0], (1 / 2, 1 / 2, 1 / 2)),  # ties: a coin
        ([5, 5, 5], [0, 1, 0], (1 / 2, 1 / 3, 1 / 3)),
        ([2, 1, 1, 1], [1, 1, 0, 0], (3 / 4, 1 / 2 + 1 / 4, (1 + 1 / 3) / 2)),
    ],
)
def test_figures_worked_by_hand(values: Any, noise: Any, figures: Any) -> None:
    found = Figures.of(np.array(values, dtype=float), np.array(noise, dtype=bool))
    assert (found.auroc, found.average_precision, found.precision) == pytest.approx(figures)


def naive(values: list[float], noise: list[bool]) -> tuple[float, float, float]:
    bad = [v for v, n in zip(values, noise) if n]
    good = [v for v, n in zip(values, noise) if not n]
    wins = sum((b > g) + 0.5 * (b == g) for b, g in product(bad, good))
    average = 0.0
    for value in sorted(set(values), reverse=True):
        called = [n for v, n in zip(values, noise) if v >= value]
        gained = sum(n for v, n in zip(values, noise) if v == value)
        average += gained / len(bad) * sum(called) / len(called)
    draws = np.random.default_rng(0).random((4000, len(values)))
    order = np.lexsort((draws, np.broadcast_to(-np.array(values), draws.shape)))
    precision = np.array(noise)[order[:, : len(bad)]].mean()
    return wins / len(bad) / len(good), average, float(precision)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12))
def test_figures_are_those_of_naive_loops(rows: list[tuple[int, bool]]) -> None:
    values, noise = [float(v) for v, _ in rows], [n for _, n in rows]
    if len(set(noise)) < 2:
        return
    found = Figures.of(np.array(values), np.array(noise))
    auroc, average, precision = naive(values, noise)
    assert found.auroc == pytest.approx(auroc)
    assert found.average_precision == pytest.approx(average)
    assert found.precision == pytest.approx(precision, abs=0.05)


def table(**columns: Any) -> pd.DataFrame:
    given_ = {
        "user": list("aaab"),
        "item": list("xyxx"),
        "score": [0.9, 0.1, 0.8, 0.7],
        "loss": [1.0, 9.0, 2.0, 3.0],
        "is_noise": [1, 0, 1, 0],
    }
    return pd.DataFrame({**given_, **columns})


def test_rivals_are_of_the_same_table() -> None:
    found = {name: each.auroc for name, each in measure(table()).items()}
    assert found == {
        "score": 1.0,
        "loss": 0.0,  # both noisy ones have the small losses
        "popular item": 3 / 4,  # x, x against y and x: a win, a tie, twice
        "rare item": 1 / 4,
        "active user": 3 / 4,  # a, a against a and b
        "inactive user": 1 / 4,
    }


def test_nothing_is_measured_where_nothing_is_known() -> None:
    assert measure(table().drop(columns="is_noise")) == {}
    for same in (0, 1):
        assert known_noise(table(is_noise=[same] * 4)) is None
        assert measure(table(is_noise=[same] * 4)) == {}
