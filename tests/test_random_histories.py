"""Scores of items under random histories: lifts, and the test whether a click fits its history."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.random_histories import RandomHistories

ITEMS = 6


def labelled(score: Tensor, item: Tensor, user: Tensor | None = None, **more: Any) -> Evidence:
    label = torch.ones(len(score))
    loss = functional.binary_cross_entropy_with_logits(score, label, reduction="none")
    rows = torch.arange(len(score)) if user is None else user
    return Evidence(loss, rows, item, label=label, **more)


def test_a_lift_is_that_over_the_mean_of_all_histories() -> None:
    histories = RandomHistories(ITEMS)
    scores = torch.zeros(4, ITEMS)
    scores[:, 2] = torch.tensor([0.0, math.log(2.0), math.log(3.0), math.log(2.0)])
    evidence = labelled(torch.zeros(4), torch.full((4,), 2), all_items=lambda row: scores)
    histories.watch(evidence, None)
    found = histories.lift(torch.tensor([2, 1]), torch.tensor([math.log(6.0), 1.0]))
    assert found.tolist() == pytest.approx([math.log(3.0), 1.0], rel=1e-5)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_targets_that_ignore_their_history_are_in_the_tail_a_tenth_of_the_time(
    shift: float,
) -> None:
    """Whatever the scores of an item are; those that fit their history better are there less."""
    histories, table, rows = RandomHistories(ITEMS), torch.randn(400, ITEMS).exp(), 400
    for seed in range(20):
        item = torch.randint(1, ITEMS, (rows,))
        score = table[torch.arange(rows), item]
        every = table.clone()
        evidence = labelled(score + shift, item, all_items=lambda row, every=every: every[row])
        histories.watch(evidence, torch.Generator().manual_seed(seed))
    tail, compared = histories.tail.sum(0)
    share = float(tail / compared)
    assert share == pytest.approx(0.1, abs=0.01) if shift == 0 else share < 0.05
    histories.start()
    assert not histories.tail.any()


def test_without_scores_of_all_items_targets_change_histories() -> None:
    """The test holds though the level of every item's scores moves with each step."""
    histories, rows = RandomHistories(ITEMS), 500
    for step in range(40):
        personal, item = torch.randn(rows, ITEMS), torch.randint(1, ITEMS, (rows,))
        level = 0.1 * step * torch.arange(ITEMS)

        def swapped(row: Tensor, now: Tensor = personal + level, item: Tensor = item) -> Tensor:
            return now[row, item]

        score = (personal + level)[torch.arange(rows), item]
        evidence = labelled(score, item, swapped=swapped)
        histories.watch(evidence, torch.Generator().manual_seed(step), swaps=step % 8 == 0)
    tail, compared = histories.tail.sum(0)
    assert float(compared) == pytest.approx(5 * rows, rel=0.01)
    assert float(tail / compared) == pytest.approx(0.1, abs=0.02)


def test_the_mean_under_random_histories_is_the_level_less_the_gap() -> None:
    histories = RandomHistories(ITEMS)
    item = torch.full((300,), 3)
    score = 2.0 + torch.randn(300)
    for _ in range(20):
        histories.follow(item, score, torch.ones_like(item, dtype=torch.bool))
        histories.compare(item, score, score - 1.5 + 0.1 * torch.randn(300))
    assert histories.mean(item[:1]).item() == pytest.approx(float(score.mean()) - 1.5, abs=0.05)
    # An item that was never compared leans on all.
    histories.follow(torch.tensor([4]), torch.tensor([7.0]), torch.tensor([True]))
    assert histories.mean(torch.tensor([4])).item() == pytest.approx(5.5, abs=0.05)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    histories = RandomHistories(ITEMS)
    all_of = torch.ones(200, dtype=torch.bool)
    histories.follow(torch.full((200,), 1), torch.zeros(200), all_of)
    histories.follow(torch.full((200,), 1), torch.full((200,), 5.0), all_of)
    weight, total = histories.level[1]
    assert float(total / weight) == pytest.approx(5.0, abs=0.01)


def test_running_sums_are_those_of_a_naive_loop() -> None:
    histories = RandomHistories(ITEMS)
    batches = [
        (torch.tensor([1, 2, 1]), torch.tensor([0.5, -1.0, 2.0])),
        (torch.tensor([2, 2, 4]), torch.tensor([1.0, 3.0, 0.0])),
    ]
    expected = torch.zeros(ITEMS, 2, dtype=torch.float64)
    for item, score in batches:
        histories.follow(item, score, torch.ones_like(item, dtype=torch.bool))
        for one in item.unique().tolist():
            mine = score[item == one].double()
            steps = sum(0.9**k for k in range(len(mine)))
            sums = torch.stack((torch.ones_like(mine), mine)).mean(1) * steps
            expected[one] = 0.9 ** len(mine) * expected[one] + sums
    assert torch.allclose(histories.level, expected)


def test_no_target_takes_another_history_of_its_own_user() -> None:
    histories, asked = RandomHistories(ITEMS), []

    def swapped(row: Tensor) -> Tensor:
        asked.append(row)
        return torch.ones(len(row))

    user = torch.tensor([1, 1, 1, 2])
    evidence = labelled(torch.zeros(4), torch.tensor([1, 2, 3, 4]), user, swapped=swapped)
    for number in range(9):
        histories.watch(evidence, torch.Generator().manual_seed(1), swaps=number % 8 == 0)
    assert len(asked) == 2
    moved = user[asked[0]] != user
    assert (histories.gap[1:5, 0] > 0).tolist() == moved.tolist()


def test_a_batch_that_is_not_trained_on_leaves_no_trace() -> None:
    histories = RandomHistories(ITEMS)
    before = {name: value.clone() for name, value in histories.state_dict().items()}
    evidence = labelled(
        torch.zeros(4), torch.tensor([1, 2, 3, 4]), all_items=lambda row: torch.zeros(4, ITEMS)
    )
    histories.watch(evidence, None, looks=False)
    assert all(torch.equal(before[name], value) for name, value in histories.state_dict().items())
    assert histories.lift(torch.tensor([1]), torch.tensor([1.0])).item() == pytest.approx(1.0)


def test_scores_of_all_items_last_until_they_are_asked_for_again() -> None:
    histories, asked = RandomHistories(ITEMS), []

    def all_items(row: Tensor) -> Tensor:
        asked.append(len(row))
        return torch.full((len(row), ITEMS), float(len(asked)))

    evidence = labelled(torch.zeros(4), torch.tensor([1, 2, 3, 4]), all_items=all_items)
    lifts = []
    for number in range(20):
        histories.watch(evidence, None, looks=number == 0, renews=number % 8 == 0)
        lifts.append(histories.lift(torch.tensor([1]), torch.tensor([0.0])).item())
    assert len(asked) == 3
    assert lifts == [-1.0] * 8 + [-2.0] * 8 + [-3.0] * 4
    assert histories.tail[1:5, 1].tolist() == [1.0] * 4  # of the one batch that was looked at


def test_the_tail_is_counted_by_item() -> None:
    histories = RandomHistories(ITEMS)
    histories.count(torch.tensor([2, 3, 2, 2]), torch.tensor([True, False, False, True]))
    assert histories.tail[2].tolist() == [2.0, 3.0]
    assert histories.tail[3].tolist() == [0.0, 1.0]
    assert histories.tail.sum().item() == 6.0
