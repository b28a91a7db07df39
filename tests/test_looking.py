"""Which batches a mixture looks at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_atjt.weighting import looking as looks
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.looking import Looking
from recbole_atjt.weighting.mixture import NoiseMixture
from recbole_atjt.weighting.table import build_weighting

_ITEMS = 12


def _looked(looking: Looking, batches: int, part: float = 1.0) -> list[int]:
    looking.start()
    found = []
    for number in range(batches):
        if looking.looks:
            found.append(number)
            looking.apart = looking.every(part)
        looking.batch += 1
    return found


@pytest.mark.parametrize(
    ("clicks", "items", "part", "every"),
    [
        (1_000, 100, 1.0, 1),
        (131_000, 100, 1.0, 1),
        (20 * 65_536, 100, 1.0, 20),
        (20 * 65_536, 100, 0.2, 4),
        (20_000_000, 27_279, 1.0, 36),  # twenty clicks of each item
    ],
)
def test_a_part_of_many_clicks_is_looked_at(
    clicks: int, items: int, part: float, every: int
) -> None:
    looking = Looking(clicks, items)
    assert looking.every(part) == every
    assert _looked(looking, 2 * every, part) == [0, every]


def test_it_rests_after_two_epochs_without_noise() -> None:
    looking, error = Looking(1000, 10), torch.tensor(0.01)
    for share in (0.3, 0.01, 0.03, 0.02):
        looking.found(torch.tensor(share), error)
        looking.start()
        assert not looking.rests
    looking.found(torch.tensor(-0.01), error)
    assert _looked(looking, 5) == [0]
    assert looking.rests


def _batch(asked: list[int], epoch: int = 0) -> Evidence:
    """Return clicks that a model of pairs scores, and note when it is asked for all items."""
    score, item = torch.randn(8), torch.randint(1, _ITEMS, (8,))

    def all_items(row: Tensor) -> Tensor:
        asked.append(len(row))
        return torch.randn(len(row), _ITEMS)

    pair = score, torch.randn(8)
    loss = functional.softplus(pair[1] - pair[0])
    negative = torch.randint(1, _ITEMS, (8,))
    more: dict[str, Any] = {"pair": pair, "negative": negative, "all_items": all_items}
    return Evidence(loss, torch.arange(8), item, epoch=epoch, **more)


@pytest.mark.parametrize("name", ["channel", "atjt"])
def test_batches_between_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_CLICKS", 1)
    strategy: Any = build_weighting({"weighting": name}, torch.full((_ITEMS,), 100))
    every = strategy.mixture.looking.every()
    assert every == 1200 // (20 * _ITEMS)
    asked: list[int] = []
    strategy.start_epoch(0)
    for number in range(2 * every):
        assert strategy.passes == (number % every != 0)
        if strategy.passes:
            strategy.let_pass(5)
            assert torch.equal(strategy.last_clean, torch.ones(5))
        else:
            assert torch.equal(strategy(_batch(asked)), torch.ones(8))
        own = strategy.evidence_loss()
        assert (own is not None) == (name == "atjt")
        assert own is None or (float(own.detach()) > 0) == (number % every == 0)
    assert len(asked) == 2
    assert float(strategy.mixture.clicks.sum()) == 16


def test_while_weights_are_1_the_test_of_independence_alone_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strategy: Any = build_weighting({"weighting": "channel"}, torch.full((_ITEMS,), 100))
    strategy.start_epoch(0)
    with monkeypatch.context() as patched:
        patched.delattr(NoiseMixture, "log_likelihood")
        assert torch.equal(strategy(_batch([])), torch.ones(8))
    mixture = strategy.mixture
    assert float(mixture.clicks.sum()) == float(mixture.histories.tail[:, 1].sum()) == 8
    strategy.end_epoch(0)
    assert strategy.describe()["noise_share"] != strategy.settings.channel_share


@pytest.mark.parametrize("name", ["channel", "atjt"])
def test_where_weights_are_used_every_batch_is_weighed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_CLICKS", 1)
    strategy: Any = build_weighting({"weighting": name}, torch.full((_ITEMS,), 100))
    asked: list[int] = []
    strategy.start_epoch(1)
    for number in range(10):
        assert not strategy.passes
        weights = strategy(_batch(asked, epoch=1))
        assert not torch.equal(weights, torch.ones(8)), number
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["channel", "atjt"])
def test_at_rest_the_first_batch_is_for_the_report_alone(name: str) -> None:
    strategy: Any = build_weighting({"weighting": name}, torch.ones(_ITEMS))
    strategy.mixture.looking.quiet.fill_(2)
    strategy.mixture.give(0.0)
    asked: list[int] = []
    strategy.start_epoch(5)
    before = strategy.describe()["noise_share"]
    assert torch.equal(strategy(_batch(asked)), torch.ones(8))
    for _ in range(4):
        assert strategy.passes
        strategy.let_pass(8)
    strategy.end_epoch(5)
    assert len(asked) == 1
    assert strategy.describe()["noise_share"] == before
    assert strategy.complaint() is None
