"""F1 on rankings worked by hand, against RecBole's precision and recall, and as its own metric."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.evaluator import Evaluator, register
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import Precision, Recall
from recbole.utils import EvaluatorType

from recbole_atjt.evaluation.f1 import F1
from recbole_atjt.evaluation.naming import split_metrics
from tests.runs import train

CONFIG = {"metric_decimal_place": 10, "topk": [1, 2, 4], "metrics": ["F1"]}
#: Three queries: hits at ranks 1 and 4 of 3 positives; none of 2; at rank 2 of 1.
HITS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
POSITIVES = np.array([3, 2, 1])


def ranked(hits: np.ndarray, positives: np.ndarray) -> DataStruct:
    """Return rankings as RecBole's collector hands them to metrics."""
    struct = DataStruct()
    struct.set("rec.topk", torch.from_numpy(np.column_stack([hits.astype(int), positives])))
    return struct


def test_hand_worked() -> None:
    """@4, query 1: P = 2/4, R = 2/3, F1 = 4/7; query 3: P = 1/4, R = 1, F1 = 2/5."""
    found = F1(CONFIG).calculate_metric(ranked(HITS, POSITIVES))
    # @1: P = 1, R = 1/3, F1 = 1/2; 0; 0.   @2: P = 1/2, R = 1/3, F1 = 2/5; 0; P = 1/2, R = 1, 2/3.
    expected = {
        "f1@1": Fraction(1, 2) / 3,
        "f1@2": (Fraction(2, 5) + Fraction(2, 3)) / 3,
        "f1@4": (Fraction(4, 7) + Fraction(2, 5)) / 3,
    }
    assert found == pytest.approx({key: float(value) for key, value in expected.items()})


@given(st.integers(1, 6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_it_is_the_harmonic_mean_of_recboles_precision_and_recall(
    k: int, queries: int, random: object
) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    hits = rng.random((queries, k)) < 0.4
    positives = np.maximum(hits.sum(axis=1), 1) + rng.integers(0, 3, queries)
    config = {**CONFIG, "topk": [k]}
    precision = Precision(config).metric_info(hits)
    recall = Recall(config).metric_info(hits, positives)
    found = F1(config).metric_info(hits, positives)
    for row in range(queries):
        for rank in range(k):
            p, r = precision[row, rank], recall[row, rank]
            assert found[row, rank] == pytest.approx(2 * p * r / (p + r) if p + r else 0)


def test_recbole_knows_it() -> None:
    assert register.metrics_dict["f1"] is F1
    assert register.metric_types["f1"] == EvaluatorType.RANKING
    assert register.metric_information["f1"] == ["rec.topk"]
    assert "f1" not in register.smaller_metrics
    assert split_metrics(["F1", "AUC", "f1"]) == (["F1", "f1"], ["AUC"])
    found = Evaluator(CONFIG).evaluate(ranked(HITS, POSITIVES))
    assert list(found) == ["f1@1", "f1@2", "f1@4"]


def test_every_other_metric_is_as_recbole_registers_it() -> None:
    smaller, *plain = register.cluster_info(register.metric_module_name)
    assert register.smaller_metrics == smaller
    ours = (register.metric_information, register.metric_types, register.metrics_dict)
    for found, expected in zip(ours, plain):
        assert {name: value for name, value in found.items() if name != "f1"} == expected


def test_a_metric_of_that_name_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_atjt.evaluation import f1 as metrics

    monkeypatch.setitem(register.metrics_dict, "f1", Recall)
    metrics.register()
    assert register.metrics_dict["f1"] is Recall


def test_it_selects_the_best_epoch() -> None:
    """With one positive a query, F1@5 = 2 / (1 + 5) Hit@5."""
    result, _ = train("GRU4Rec", "none", metrics=["Hit", "F1"], valid_metric="F1@5")
    assert result.test["f1@5"] == pytest.approx(result.test["hit@5"] / 3)
    assert result.test["hit@5"] > 0
