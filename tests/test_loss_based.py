"""ADT's truncated and reweighted losses: by hand, against naive loops, in whole training steps."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from recbole_atjt.seam.reduction import weighted_mean
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.loss_based import ReweightedLoss, TruncatedLoss, truncated
from recbole_atjt.weighting.table import build_weighting
from tests.heads import HEADS, gradients_of
from tests.runs import fit, train

#: A rate that is reached at the first step.
AT_ONCE = {"t_ce_num_gradual": 1}
ROWS = st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=1, max_size=30)
RATES = st.floats(0, 1, exclude_max=True)


def build(name: str, **changes: Any) -> Any:
    built = build_weighting({"weighting": name, **changes}, torch.ones(5))
    assert isinstance(built, Weighting)
    return built


def evidence(loss: Tensor, label: Tensor | None = None) -> Evidence:
    rows = torch.ones(len(loss), dtype=torch.long)
    return Evidence(loss, rows, rows, label=label)


def logits_and_labels(rows: list[tuple[float, bool]]) -> tuple[Tensor, Tensor]:
    logit, label = zip(*rows)
    return torch.tensor(logit, dtype=torch.float64), torch.tensor(label, dtype=torch.float64)


def bce(logit: Tensor, label: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logit, label, reduction="none")


def truncated_by_the_original(logit: Tensor, label: Tensor, drop_rate: float) -> Tensor:
    """Sort the losses times the labels, keep the first, and average over them."""
    order = np.argsort((bce(logit, label) * label).detach().numpy())
    kept = torch.from_numpy(order[: int((1 - drop_rate) * len(order))])
    return functional.binary_cross_entropy_with_logits(logit[kept], label[kept])


def reweighted_by_the_original(logit: Tensor, label: Tensor, beta: float) -> Tensor:
    """Weigh clicked rows by sigmoid(s) ** beta, sampled ones by (1 - sigmoid(s)) ** beta."""
    chance = torch.sigmoid(logit).detach()
    weight = chance**beta * label + (1 - chance) ** beta * (1 - label)
    return (weight * bce(logit, label)).mean()


def truncated_by_a_loop(loss: list[float], label: list[bool], drop_rate: float) -> list[Fraction]:
    """Take the largest positive out, one after another."""
    kept, wanted = set(range(len(loss))), max(1, int((1 - drop_rate) * len(loss)))
    while len(kept) > wanted and any(label[row] for row in kept):
        kept.remove(max((row for row in kept if label[row]), key=lambda row: loss[row]))
    return [Fraction(len(loss) * (row in kept), len(kept)) for row in range(len(loss))]


def test_the_largest_positives_are_dropped_by_hand() -> None:
    loss = torch.tensor([0.5, 3.0, 1.0, 9.0, 2.0])
    label = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0])
    found = truncated(loss, label, 0.4)  # 3 of 5 rows stay; 9.0 is a negative
    assert found.tolist() == pytest.approx([5 / 3, 0, 5 / 3, 5 / 3, 0])
    assert float(weighted_mean(loss, found)) == pytest.approx((0.5 + 1.0 + 9.0) / 3)


def test_without_labels_every_row_is_a_positive() -> None:
    loss = torch.tensor([0.5, 3.0, 1.0, 9.0, 2.0])
    assert truncated(loss, None, 0.4).tolist() == pytest.approx([5 / 3, 0, 5 / 3, 0, 5 / 3])
    assert truncated(loss, None, 0.0).tolist() == [1.0] * 5
    # int(0.99 * 5) = 4 rows stay: what is dropped is rounded up, as in the original
    assert truncated(loss, None, 0.01).tolist() == pytest.approx([5 / 4, 5 / 4, 5 / 4, 0, 5 / 4])


def test_no_negative_is_ever_dropped() -> None:
    loss, label = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert truncated(loss, label, 0.9).tolist() == pytest.approx([0, 4 / 3, 4 / 3, 4 / 3])
    assert truncated(loss, torch.zeros(4), 0.9).tolist() == [1.0] * 4


def test_a_row_is_kept_in_the_smallest_batch() -> None:
    assert truncated(torch.tensor([2.0]), None, 0.2).tolist() == [1.0]
    assert truncated(torch.tensor([2.0, 1.0]), None, 0.99).tolist() == [0.0, 2.0]


@settings(deadline=None, max_examples=50)
@given(rows=ROWS, drop_rate=RATES)
def test_truncation_equals_a_naive_loop(rows: list[tuple[float, bool]], drop_rate: float) -> None:
    logit, label = logits_and_labels(rows)
    loss = bce(logit, label)
    found = truncated(loss, label, drop_rate)
    by_loop = truncated_by_a_loop(loss.tolist(), [y for _, y in rows], drop_rate)
    assert sorted(found.tolist()) == pytest.approx(sorted(float(w) for w in by_loop), rel=1e-6)
    expected = sum(float(w) * x for w, x in zip(by_loop, loss.tolist())) / len(rows)
    assert float(weighted_mean(loss, found)) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(rows=ROWS, drop_rate=RATES)
def test_truncation_is_the_originals(rows: list[tuple[float, bool]], drop_rate: float) -> None:
    logit, label = logits_and_labels(rows)
    dropped = len(rows) - int((1 - drop_rate) * len(rows))
    if dropped > label.sum() or dropped == len(rows):
        return  # the original then drops any of the negatives, or all rows
    ours, theirs = (logit.clone().requires_grad_() for _ in range(2))
    loss = weighted_mean(bce(ours, label), truncated(bce(ours, label).detach(), label, drop_rate))
    expected = truncated_by_the_original(theirs, label, drop_rate)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert ours.grad is not None
    assert theirs.grad is not None
    # rows of one loss may change places: the gradients are the same as a set
    assert sorted(ours.grad.tolist()) == pytest.approx(sorted(theirs.grad.tolist()), abs=1e-7)


def test_the_schedule_by_hand() -> None:
    strategy = build("t_ce", t_ce_drop_rate=0.5, t_ce_num_gradual=4, t_ce_exponent=2)
    rates = []
    for _ in range(6):
        rates.append(strategy.drop_rate)
        strategy(evidence(torch.rand(3)))
    expected = [Fraction(step, 16) for step in range(5)] + [Fraction(1, 4)]
    assert rates == [float(rate) for rate in expected]


def test_the_schedule_is_the_originals_but_for_a_step() -> None:
    originals = [*np.linspace(0, 0.2, 30), *[0.2] * 10]
    strategy = build("t_ce", t_ce_drop_rate=0.2, t_ce_num_gradual=30)
    for rate in originals:
        assert strategy.drop_rate == pytest.approx(rate, abs=0.2 / 30)
        strategy(evidence(torch.rand(3)))
    assert strategy.drop_rate == 0.2


def test_only_training_steps_are_counted() -> None:
    strategy, seen = build("t_ce"), evidence(torch.rand(3))
    strategy(seen)
    assert int(strategy.step) == 1
    with torch.no_grad():
        strategy(seen)
    strategy.eval()
    strategy(seen)
    assert int(strategy.step) == 1


def test_a_run_counts_its_batches() -> None:
    trainer, loader = HEADS["BPR"].assemble("t_ce", epochs=2)
    for epoch in range(2):
        trainer._train_epoch(loader, epoch)
        assert int(trainer.weighting.step) == (epoch + 1) * len(loader)


def test_a_resumed_run_drops_as_much_as_one_that_was_not_interrupted() -> None:
    changes = {"weighting": "t_ce", "t_ce_drop_rate": 0.9, "t_ce_num_gradual": 40}
    half = fit(2, **changes)
    rest = fit(3, resume=half.saved_model_file, **changes)
    whole = fit(3, **changes)
    assert rest.weighting.drop_rate == whole.weighting.drop_rate
    assert rest.weighting.drop_rate == 1.5 * half.weighting.drop_rate
    assert rest.train_loss_dict[2] == whole.train_loss_dict[2]


def test_reweighting_by_hand() -> None:
    loss = -torch.tensor([1.0, 0.25, 1 / 9]).log()
    weights = build("r_ce", r_ce_beta=0.5)(evidence(loss))
    assert weights.tolist() == pytest.approx([1, 1 / 2, 1 / 3])


def test_exponent_0_is_plain_training() -> None:
    assert build("r_ce", r_ce_beta=0)(evidence(torch.rand(4) * 50)).tolist() == [1.0] * 4


def test_a_loss_beyond_any_probability_weighs_nothing() -> None:
    assert build("r_ce", r_ce_beta=1)(evidence(torch.tensor([1e4]))).tolist() == [0.0]


@settings(deadline=None, max_examples=50)
@given(rows=ROWS, beta=st.floats(0, 4))
def test_reweighting_is_the_originals(rows: list[tuple[float, bool]], beta: float) -> None:
    logit, label = logits_and_labels(rows)
    ours, theirs = (logit.clone().requires_grad_() for _ in range(2))
    loss = bce(ours, label)
    weights = build("r_ce", r_ce_beta=beta)(evidence(loss, label))
    assert not weights.requires_grad
    weighted = weighted_mean(loss, weights)
    expected = reweighted_by_the_original(theirs, label, beta)
    weighted.backward()
    expected.backward()
    assert weighted.item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)  # type: ignore[arg-type]
    by_loop = sum(
        (1 / (1 + math.exp(-x if y else x))) ** beta * math.log1p(math.exp(-x if y else x))
        for x, y in rows
    ) / len(rows)
    assert weighted.item() == pytest.approx(by_loop, rel=1e-9)


@pytest.mark.parametrize("name", ["t_ce", "r_ce"])
@settings(deadline=None, max_examples=50)
@given(losses=st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=20), data=st.data())
def test_weights_are_finite_not_negative_and_of_every_row(
    name: str, losses: list[float], data: st.DataObject
) -> None:
    size = {"min_size": len(losses), "max_size": len(losses)}
    label = data.draw(st.none() | st.lists(st.sampled_from([0.0, 1.0]), **size))
    strategy = build(name, t_ce_drop_rate=data.draw(RATES), **AT_ONCE)
    loss = torch.tensor(losses, requires_grad=True)
    strategy(evidence(loss))  # T_CE drops nothing in the first step
    weights = strategy(evidence(loss, None if label is None else torch.tensor(label)))
    assert weights.shape == loss.shape
    assert not weights.requires_grad
    assert bool(((weights >= 0) & torch.isfinite(weights)).all())
    if name == "t_ce":
        assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)
    else:
        assert bool((weights <= 1).all())


def truncated_step(losses: Tensor, labels: list[bool], drop_rate: float) -> Tensor:
    """Return the mean over the rows that are kept, by a loop."""
    weights = truncated_by_a_loop(losses.tolist(), labels, drop_rate)
    kept = [loss for loss, weight in zip(losses, weights) if weight]
    return torch.stack(kept).mean()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("weighting", ["t_ce", "r_ce"])
def test_a_training_step_equals_the_definition(name: str, weighting: str) -> None:
    head = HEADS[name]
    changes = {"t_ce_drop_rate": 0.3, "r_ce_beta": 0.7, **AT_ONCE}
    trainer, loader = head.assemble(weighting, **changes)
    batches = iter(loader)
    trainer.model.calculate_loss(next(batches))  # T_CE drops nothing in the first step
    batch, model = next(batches), trainer.bare_model
    loss = trainer.model.calculate_loss(batch)
    found = gradients_of(loss, model)

    losses = head.losses(model, batch)
    rows = len(losses)
    assert rows == head.blocks * batch.sequences
    labels = [name != "BCE" or row < batch.sequences for row in range(rows)]
    if name == "BCE":
        assert batch["label"].tolist() == labels
    if weighting == "t_ce":
        by_hand = truncated_step(losses, labels, 0.3)
    else:
        by_hand = sum(math.exp(-one.item()) ** 0.7 * one for one in losses) / rows
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    if name == "BCE":
        logit, label = model.forward(batch), batch["label"]
        original = {
            "t_ce": lambda: truncated_by_the_original(logit, label, 0.3),
            "r_ce": lambda: reweighted_by_the_original(logit, label, 0.7),
        }
        assert loss.item() == pytest.approx(original[weighting]().item(), rel=1e-5)
    expected = gradients_of(by_hand, model)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize("weighting", ["t_ce", "r_ce"])
def test_models_without_histories_are_trained(weighting: str) -> None:
    run, trainer = train("BPR", weighting, epochs=1, **AT_ONCE)
    assert isinstance(trainer.weighting, (TruncatedLoss, ReweightedLoss))
    assert run.parameters["recogniser"] == 0
    assert run.warnings == []
    assert 0 < trainer.history[0]["mean_weight"] <= 1.0 + 1e-6


@pytest.mark.parametrize("changes", [{"t_ce_drop_rate": 0}, {"r_ce_beta": 0}], ids=str)
@pytest.mark.parametrize("name", HEADS)
def test_no_drop_and_exponent_0_are_plain(name: str, changes: dict[str, float]) -> None:
    weighting = "t_ce" if "t_ce_drop_rate" in changes else "r_ce"
    trainer, loader = HEADS[name].assemble(weighting, **changes, **AT_ONCE)
    for batch in loader:
        plain = trainer.bare_model.calculate_loss(batch)
        assert trainer.model.calculate_loss(batch).item() == pytest.approx(plain.item(), rel=1e-6)
