"""Inverse frequency weights: fractions by hand, mean 1, whole training steps."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recbole_atjt.weighting.base import Evidence, NoSettings
from recbole_atjt.weighting.frequency import InverseFrequency, inverse_frequency
from tests.heads import HEADS, gradients_of
from tests.runs import train

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any)


def build(counts: list[int]) -> InverseFrequency:
    return InverseFrequency(NoSettings(), torch.tensor(counts))


def evidence(items: list[int], rows: int | None = None) -> Evidence:
    item = torch.tensor(items)
    return Evidence(torch.ones(rows or len(items)), torch.ones_like(item), item)


def test_weights_by_hand() -> None:
    # eight sequences on three items, clicked 4, 1 and 3 times: 8 / 3 of weight for each item
    weights = build([0, 4, 1, 0, 3])(evidence([1, 2, 4, 1], rows=12))
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 3, 8 / 9, 8 / 12])


def test_equal_frequencies_weigh_nothing() -> None:
    assert build([0, 5, 5, 5])(evidence([1, 2, 3])).tolist() == [1.0, 1.0, 1.0]


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS)
def test_weights_equal_a_naive_loop_and_have_mean_1(counts: list[int]) -> None:
    counts = [0, *counts]
    targets = [item for item, count in enumerate(counts) for _ in range(count)]
    seen = [item for item in range(len(counts)) if item in targets]
    expected = [
        Fraction(len(targets), len(seen) * targets.count(item)) if item in targets else Fraction(0)
        for item in range(len(counts))
    ]
    found = inverse_frequency(torch.tensor(counts))
    assert found.tolist() == pytest.approx([float(weight) for weight in expected], rel=1e-6)
    assert sum(expected[item] for item in targets) / len(targets) == 1
    weights = build(counts)(evidence(targets))
    assert float(weights.double().mean()) == pytest.approx(1.0, rel=1e-6)
    assert bool(torch.isfinite(found).all())


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, factor=st.integers(2, 9))
def test_only_the_proportions_count(counts: list[int], factor: int) -> None:
    once, often = (torch.tensor([0, *counts]) * times for times in (1, factor))
    assert torch.allclose(inverse_frequency(once), inverse_frequency(often))


def test_a_large_catalogue_keeps_mean_1() -> None:
    counts = torch.randint(0, 3, (200_000,)).double().square().long() * 1000
    weights = inverse_frequency(counts).double()
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1.0, rel=1e-6)


def test_nothing_is_kept_beside_the_frequency() -> None:
    assert [*build([0, 1]).state_dict()] == ["item_frequency"]
    assert build([0, 1]).build_optimizer() is None


@pytest.mark.parametrize("name", HEADS)
def test_a_training_step_equals_the_definition(name: str) -> None:
    head = HEADS[name]
    trainer, loader = head.assemble("frequency")
    targets = loader.dataset.inter_feat["item_id"].tolist()
    batch = next(iter(loader))
    model = trainer.bare_model
    loss = trainer.model.calculate_loss(batch)
    found = gradients_of(loss, model)

    losses: Tensor = head.losses(model, batch)
    assert len(losses) == head.blocks * batch.sequences
    by_hand = torch.zeros(())
    for row, one in enumerate(losses):
        item = int(batch["item_id"][row % batch.sequences])
        weight = Fraction(len(targets), len(set(targets)) * targets.count(item))
        by_hand = by_hand + float(weight) * one / len(losses)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    expected = gradients_of(by_hand, model)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_the_mean_weight_of_an_epoch_is_1(model: str) -> None:
    run, trainer = train(model, "frequency", epochs=1)
    assert [figures["mean_weight"] for figures in trainer.history] == pytest.approx([1.0])
    assert run.parameters["recogniser"] == 0
    assert run.warnings == []
    assert run.weights is None or "auroc" not in run.weights
