"""Paired comparisons over seeds, on numbers worked by hand and by naive loops."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recbole_atjt.bench.statistics import holm, paired


def test_a_comparison_worked_by_hand() -> None:
    found = paired([3.0, 5.0, 4.0], [1.0, 4.0, 4.0])  # differences 2, 1, 0
    assert found.difference == 1.0
    assert (found.wins, found.ties, found.losses) == (2, 1, 0)
    # t = 1 / (1 / sqrt(3)) with two degrees of freedom, whose tail is 1/2 - t / (2 sqrt(2 + t^2))
    t = math.sqrt(3)
    assert found.p == pytest.approx(2 * (0.5 - t / (2 * math.sqrt(2 + t * t))))
    assert found.interval is not None
    low, high = found.interval
    assert 0.0 <= low < 1.0 < high <= 2.0


def test_smaller_may_be_better() -> None:
    found = paired([3.0, 5.0], [4.0, 5.0], smaller=True)
    assert (found.wins, found.ties, found.losses) == (1, 1, 0)
    assert found.difference == -0.5


def test_the_interval_is_the_bootstraps() -> None:
    differences = np.array([0.3, -0.1, 0.25, 0.6, 0.0])
    found = paired(list(differences + 1), [1.0] * 5).interval
    assert found is not None
    drawn = np.random.default_rng(5).choice(differences, (20_000, 5)).mean(axis=1)
    assert found == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.02)
    assert found == paired(list(differences + 1), [1.0] * 5).interval


def test_where_nothing_differs_and_where_all_differ_alike() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0
        assert paired([0.0143, 0.0139], [0.0139, 0.0135]).p is None
    one = paired([2.0], [1.0])
    assert one.p is None
    assert one.interval is None
    assert one.wins == 1


@pytest.mark.parametrize(("own", "plain"), [([], []), ([1.0], [1.0, 2.0])])
def test_series_that_do_not_pair(own: list[float], plain: list[float]) -> None:
    with pytest.raises(ValueError, match="the same seeds"):
        paired(own, plain)


def test_holm_worked_by_hand() -> None:
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1 = .04 .06 .06 .04, then never below one before
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_the_step_down_rejects(values: list[float]) -> None:
    corrected = holm(values)
    assert all(0 <= old <= new <= 1 for old, new in zip(values, corrected))
    for level in (0.01, 0.05, 0.5):
        rejected = set()
        for rank, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
            if (len(values) - rank) * values[place] > level:
                break
            rejected.add(place)
        assert {i for i, p in enumerate(corrected) if p <= level} == rejected


def test_the_test_is_scipys() -> None:
    own, plain = [0.3, 0.5, 0.1, 0.4], [0.2, 0.45, 0.2, 0.1]
    assert paired(own, plain).p == pytest.approx(stats.ttest_1samp(np.subtract(own, plain), 0)[1])
