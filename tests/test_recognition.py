"""Weights from recognisers: normalisation, strength, gradients, schedules, ablations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.recognition import RecognizerWeighting
from recbole_atjt.weighting.report import RunningMoments
from recbole_atjt.weighting.table import STRATEGIES, build_weighting
from tests.runs import SMALL_RECOGNIZER

ITEMS, ROWS, LENGTH = 12, 6, 4
LEARNED = [
    name
    for name, strategy in STRATEGIES.items()
    if strategy is not None and issubclass(strategy, RecognizerWeighting)
]


#: Tests name what they depend on: defaults are chosen by measurement and may change.
LITERAL = {
    "atjt_groups": 2,
    "atjt_alpha": 1.0,
    "atjt_strength": 1.0,
    "atjt_normalize": "none",
    "atjt_joint_gradient": True,
    "atjt_scale_alpha": False,
    "atjt_schedule": "interleaved",
    "atjt_replace": "history",
}


def keys(weighting: str = "atjt", **changes: Any) -> dict[str, Any]:
    return {**SMALL_RECOGNIZER, **LITERAL, "weighting": weighting, **changes}


def build(weighting: str = "atjt", **changes: Any) -> RecognizerWeighting:
    frequency = torch.arange(ITEMS)
    built = build_weighting(keys(weighting, **changes), frequency)
    assert isinstance(built, RecognizerWeighting)
    return built


def sequences(rows: int = ROWS) -> tuple[Tensor, Tensor]:
    history = torch.randint(1, ITEMS, (rows, LENGTH))
    history[0, 1:] = 0
    return history, torch.randint(1, ITEMS, (rows,))


def evidence(group: int = 0, rows: int = ROWS) -> Evidence:
    history, target = sequences(rows)
    loss = torch.rand(rows) + 1.0
    return Evidence(loss, torch.arange(rows), target, history, None, 0, group)


def gradients(strategy: RecognizerWeighting) -> list[bool]:
    """Tell which recognisers got a gradient that is not zero."""
    return [
        any(p.grad is not None and bool(p.grad.any()) for p in recognizer.parameters())
        for recognizer in strategy.recognizers
    ]


@pytest.mark.parametrize("name", LEARNED)
def test_weights_are_one_for_each_sequence_finite_and_not_negative(name: str) -> None:
    weights = build(name)(evidence())
    assert weights.shape == (ROWS,)
    assert bool((weights >= 0).all())
    assert bool(torch.isfinite(weights).all())


def test_the_literal_weight_is_the_recognisers_probability() -> None:
    strategy, seen = build(atjt_normalize="none", atjt_groups=3), evidence(group=2)
    assert seen.history is not None
    strategy.recognizer(2).eval()
    expected = 1.0 / (1.0 + torch.exp(-strategy.recognizer(2)(seen.history, seen.item)))
    assert strategy(seen).detach() == pytest.approx(expected.detach(), rel=1e-6)


def test_normalised_weights_keep_their_order_and_have_mean_1() -> None:
    seen = evidence()
    strategy = build(atjt_normalize="mean")
    assert seen.history is not None
    raw = strategy.recognize(0, seen.history, seen.item).detach()
    weights = strategy(seen).detach()
    assert weights == pytest.approx(raw / (sum(raw.tolist()) / ROWS), rel=1e-5)
    assert float(weights.mean()) == pytest.approx(1.0)


@pytest.mark.parametrize("normalize", ["none", "mean"])
def test_strength_is_the_share_that_the_recogniser_decides(normalize: str) -> None:
    seen, strategy = evidence(), build(atjt_normalize=normalize)
    whole = strategy(seen).detach()
    strategy.settings = replace(strategy.settings, atjt_strength=0.25)
    assert strategy(seen).detach() == pytest.approx(0.75 + 0.25 * whole, rel=1e-6)


def test_the_report_holds_raw_weights() -> None:
    strategy, seen = build(atjt_normalize="mean"), evidence()
    assert seen.history is not None
    raw = strategy.recognize(0, seen.history, seen.item).detach()
    strategy.start_epoch(0)
    strategy(seen)
    strategy(seen)
    assert strategy.report.weights.count == 2 * ROWS
    assert strategy.report.weights.mean == pytest.approx(float(raw.mean()))
    assert strategy.report.weights.variance == pytest.approx(
        float(raw.var(unbiased=False)), abs=1e-6
    )
    strategy.start_epoch(1)
    assert strategy.report.weights.count == 0


def test_weighing_is_without_dropout_and_leaves_the_mode_as_it_was() -> None:
    strategy, seen = build(), evidence()
    strategy.train()
    first, second = strategy(seen), strategy(seen)
    assert torch.equal(first, second)
    assert strategy.recognizer(0).training


@pytest.mark.parametrize(
    ("name", "joint", "reached"),
    [("atjt", True, True), ("atjt", False, False), ("wat", False, True), ("dnr", True, False)],
)
def test_only_the_joint_gradient_reaches_the_recogniser(
    name: str, joint: bool, reached: bool
) -> None:
    strategy = build(name, atjt_joint_gradient=joint)
    seen = evidence()
    weights = strategy(seen)
    assert weights.requires_grad == reached
    if reached:
        (weights * seen.loss).mean().backward()
        assert gradients(strategy)[0]


@pytest.mark.parametrize("joint", [True, False])
def test_only_the_recogniser_of_the_phase_learns(joint: bool) -> None:
    strategy = build(atjt_groups=3, atjt_joint_gradient=joint)
    seen = evidence(group=1)
    loss = (strategy(seen) * seen.loss).mean()
    (loss + strategy.auxiliary_loss(1, *sequences(32))).backward()
    assert gradients(strategy) == [False, True, False]


def test_the_auxiliary_loss_is_alpha_times_l_d() -> None:
    strategy = build(atjt_alpha=0.3, atjt_recognizer_dropout=0.0)
    history, target = sequences(40)
    torch.manual_seed(1)
    scaled = strategy.auxiliary_loss(0, history, target).item()
    torch.manual_seed(1)
    changed, other, label = strategy.corruption.corrupt(history, target)
    logit = strategy.recognizer(0)(changed, other)
    by_hand = -(label * logit.sigmoid().log() + (1 - label) * (1 - logit.sigmoid()).log()).mean()
    assert scaled == pytest.approx(0.3 * by_hand.item(), rel=1e-5)


def test_alpha_scaled_by_the_size_of_l_r() -> None:
    plain, scaled = build(atjt_alpha=0.5), build(atjt_alpha=0.5, atjt_scale_alpha=True)
    scaled.load_state_dict(plain.state_dict())
    seen, (history, target) = evidence(), sequences(20)
    losses = []
    for strategy in (plain, scaled):
        strategy(seen)
        torch.manual_seed(3)
        losses.append(strategy.auxiliary_loss(0, history, target).item())
    assert losses[1] / losses[0] == pytest.approx(float(seen.loss.mean()), rel=1e-5)


def test_the_interleaved_schedule_walks_through_all_groups_every_epoch() -> None:
    strategy = build(atjt_groups=3)
    assert [strategy.phases(epoch) for epoch in range(2)] == [[0, 1, 2], [0, 1, 2]]


def test_the_papers_schedule_takes_one_group_after_another() -> None:
    strategy = build(atjt_groups=3, atjt_schedule="paper", atjt_phase_epochs=2)
    found = [strategy.phases(epoch) for epoch in range(8)]
    assert found == [[0], [0], [1], [1], [2], [2], [0], [0]]


def test_the_papers_schedule_starts_a_phase_with_a_fresh_recogniser_and_optimiser() -> None:
    strategy = build(atjt_schedule="paper", atjt_phase_epochs=2)
    optimizer = strategy.build_optimizer()
    strategy.start_epoch(0)
    for group in (0, 1):
        strategy.auxiliary_loss(group, *sequences(30)).backward()
    optimizer.step()
    kept = {name: value.clone() for name, value in strategy.state_dict().items()}
    strategy.start_epoch(1)  # within the phase of group 0: all goes on
    assert all(torch.equal(kept[n], value) for n, value in strategy.state_dict().items())
    strategy.start_epoch(2)  # the phase of group 1 begins
    first, second = strategy.recognizer(0), strategy.recognizer(1)
    for recognizer, restarted in ((first, False), (second, True)):
        memory = [optimizer.state[p]["sum"] for p in recognizer.parameters()]
        assert all(not bool(value.any()) for value in memory) == restarted
        weight = recognizer.item_embedding.weight
        index = 0 if recognizer is first else 1
        same = torch.equal(weight, kept[f"recognizers.{index}.item_embedding.weight"])
        assert same != restarted


def test_wat_has_no_loss_of_its_own_and_one_recogniser() -> None:
    strategy = build("wat", atjt_groups=4)
    assert not strategy.wants_other_groups
    assert len(strategy.recognizers) == 1
    assert Weighting.auxiliary_loss(strategy, 0, *sequences()) is None
    assert strategy.auxiliary_loss(0, *sequences()) is None
    assert strategy.phases(3) == [0]


def test_dnr_trains_alone_first_and_is_frozen_then() -> None:
    strategy = build("dnr", dnr_epochs=2)
    before = [p.clone() for p in strategy.parameters()]
    rounds: list[int] = []

    def others() -> Iterator[tuple[int, Tensor, Tensor]]:
        rounds.append(1)
        yield from ((group, *sequences(20)) for group in (0, 1))

    strategy.prepare(others)
    assert len(rounds) == 2
    assert all(not torch.equal(a, b) for a, b in zip(before[:1], strategy.parameters()))
    assert not any(p.requires_grad for p in strategy.parameters())
    assert strategy.build_optimizer() is None


def test_moments_equal_a_plain_loop() -> None:
    values, moments = torch.rand(3, 7).double(), RunningMoments()
    for row in values:
        moments.add(row)
    flat = values.flatten().tolist()
    mean = sum(flat) / 21
    assert moments.mean == pytest.approx(mean)
    assert moments.variance == pytest.approx(sum((x - mean) ** 2 for x in flat) / 21)


def test_moments_of_nothing_are_not_numbers() -> None:
    nothing = RunningMoments()
    assert nothing.count == 0
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.variance)


def test_none_installs_nothing() -> None:
    assert STRATEGIES["none"] is None
    assert build_weighting(keys("none"), torch.ones(ITEMS)) is None


@pytest.mark.parametrize("name", LEARNED)
def test_every_recogniser_has_parameters_of_its_own(name: str) -> None:
    strategy = build(name, atjt_groups=3)
    firsts = [next(recognizer.parameters()) for recognizer in strategy.recognizers]
    assert len({id(p) for p in firsts}) == len(firsts)
    assert len(firsts) == (3 if strategy.groups_key else 1)
