"""GELU in one pass: RecBole's own numbers, and RecBole's own bits where a model predicts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recbole.model.layers import FeedForward

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.host.gelu import OnePassGelu, speed_up_gelu

_SMALL = {"train_neg_sample_args": None, "user_inter_num_interval": "[20,40]"}


def test_values_and_gradients_are_those_of_recbole() -> None:
    layer = FeedForward(8, 16, 0.0, "gelu", 1e-12)
    fast = copy.deepcopy(layer)
    assert speed_up_gelu(fast) == 1
    x = torch.linspace(-6, 6, 400).view(50, 8).requires_grad_()
    direction = torch.randn(50, 8)
    (layer(x) * direction).sum().backward()
    expected, x.grad = x.grad, None
    (fast(x) * direction).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, expected, atol=1e-5)
    assert torch.allclose(fast(x), layer(x), atol=1e-6)
    for one, other in zip(fast.parameters(), layer.parameters()):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert fast.intermediate_act_fn._layer is fast
    again = copy.deepcopy(fast)
    assert again.intermediate_act_fn._layer is again


def test_where_it_does_not_train_it_is_recbole_to_the_bit() -> None:
    layer = FeedForward(8, 16, 0.5, "gelu", 1e-12).eval()
    x = torch.randn(64, 8)
    expected = layer(x)
    speed_up_gelu(layer)
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("act", ["relu", "swish"])
def test_other_activations_stay(act: str) -> None:
    layer = FeedForward(8, 16, 0.0, act, 1e-12)
    assert speed_up_gelu(layer) == 0


@pytest.mark.parametrize(("weighting", "fast"), [("none", 0), ("channel", 2)])
def test_plain_training_keeps_recboles_own(weighting: str, fast: int, tmp_path: Any) -> None:
    config = DenoisingConfig("SASRec", "ml-100k", None, {**_SMALL, "weighting": weighting})
    model = assemble(config, tmp_path).model
    bare = getattr(model, "recommender", model)
    acts = [getattr(layer, "intermediate_act_fn", None) for layer in bare.modules()]
    assert sum(isinstance(act, OnePassGelu) for act in acts) == fast
