"""The oracle: known noise weighs nothing."""

from __future__ import annotations

import pytest
import torch

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence, NoSettings
from recbole_atjt.weighting.oracle import Oracle
from tests.runs import train


def seen(true: torch.Tensor | None) -> Evidence:
    return Evidence(torch.ones(3), torch.arange(3), torch.tensor([1, 2, 1]), true=true)


def test_noise_weighs_0_and_the_rest_1() -> None:
    oracle = Oracle(NoSettings(), torch.ones(4))
    assert oracle(seen(torch.tensor([True, False, True]))).tolist() == [1.0, 0.0, 1.0]


def test_data_that_does_not_know_its_noise_is_refused() -> None:
    oracle = Oracle(NoSettings(), torch.ones(4))
    with pytest.raises(UsageError, match="weighting=oracle needs noise that is known"):
        oracle(seen(None))


def test_planted_noise_is_known_to_it() -> None:
    run, _ = train("SASRec", "oracle", epochs=1, plant="clickbait:0.3", plant_items=5)
    assert run.weights is not None
    assert run.weights["true_positive"]["mean"] == 1.0
    assert run.weights["false_positive"]["mean"] == 0.0
