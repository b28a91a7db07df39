"""Fast dropout: the same distribution at the cost of a multiplication."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_atjt.dropout import FastDropout, speed_up_dropout


def test_keeps_the_mean_and_meets_its_rate() -> None:
    dropout = FastDropout(0.3)
    x = torch.ones(400, 500)
    kept = dropout(x)
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert kept.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_every_position_drops_at_the_rate(rate: float) -> None:
    """The 16 bits of a position come from one 64-bit draw: all four quarters must be even."""
    kept = FastDropout(rate)(torch.ones(4_000, 8)) != 0
    torch.testing.assert_close(kept.float().mean(0), torch.full((8,), 1 - rate), atol=0.03, rtol=0)


def test_neighbours_drop_independently() -> None:
    kept = (FastDropout(0.5)(torch.ones(100_000)) != 0).float()
    both = (kept[:-1] * kept[1:]).mean().item()
    assert both == pytest.approx(0.25, abs=0.01)


def test_gradient_is_the_factor() -> None:
    x = torch.ones(1000, requires_grad=True)
    kept = FastDropout(0.25)(x)
    kept.sum().backward()
    assert torch.equal(x.grad, kept.detach())


def test_a_seed_repeats() -> None:
    torch.manual_seed(5)
    first = FastDropout(0.5)(torch.ones(64))
    torch.manual_seed(5)
    assert torch.equal(first, FastDropout(0.5)(torch.ones(64)))


def test_replaces_dropout_inside_a_model_and_nothing_else() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.4)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert speed_up_dropout(model) == 2
    assert [m.rate for m in model.modules() if isinstance(m, FastDropout)] == [0.2, 0.4]
    assert not any(type(m) is nn.Dropout for m in model.modules())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
