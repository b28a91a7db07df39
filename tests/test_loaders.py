"""Loader pairs: which rows train the recommender, which the recogniser, in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recbole_atjt.data.loaders import PairedBatch, PhaseLoader
from recbole_atjt.data.user_groups import deal_users
from tests.runs import assemble
from tests.tiers import fast


def build(groups: int = 2, with_others: bool = True, **changes: Any) -> PhaseLoader:
    """Return the loader of a SASRec run, each training row numbered in a column of its own."""
    _, (train_data, _, _), _ = assemble("SASRec", weighting="none", **changes)
    features = train_data._dataset.inter_feat
    users = features["user_id"]
    dealt = deal_users(users, groups, seed=7)
    return PhaseLoader(train_data, dealt, "item_id_list", "item_id", with_others)


def key(history: Tensor, target: Tensor) -> list[tuple[int, ...]]:
    """Return something that tells sequences apart: the history and its target."""
    return [(*past, int(item)) for past, item in zip(history.tolist(), target)]


def users_of(loader: PhaseLoader) -> dict[tuple[int, ...], int]:
    """Return the user of each training sequence."""
    features = loader.dataset.inter_feat
    rows = torch.arange(len(features))
    sequences = key(*loader.sequences_of(rows))
    users = dict(zip(sequences, features["user_id"].tolist()))
    assert len(users) == len(rows), "sequences of the tiny dataset tell their users apart"
    return users


def epoch(loader: PhaseLoader) -> list[PairedBatch]:
    return list(loader)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_every_row_trains_the_recommender_once_in_an_epoch(groups: int) -> None:
    loader = build(groups)
    for _ in range(2):
        seen = [s for b in epoch(loader) for s in key(b["item_id_list"], b["item_id"])]
        assert sorted(seen) == sorted(users_of(loader))


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_other_sequences_go_once_around_all_users_of_other_groups(groups: int) -> None:
    loader = build(groups)
    users = users_of(loader)
    phases: dict[int, tuple[list[Any], list[Any]]] = {}
    for batch in epoch(loader):
        own, others = phases.setdefault(batch.group, ([], []))
        own += key(batch["item_id_list"], batch["item_id"])
        assert batch.others is not None
        others += key(*batch.others)
    for own, others in phases.values():
        assert {users[s] for s in own}.isdisjoint(users[s] for s in others)
        assert sorted(own + others) == sorted(users)


def test_groups_come_one_after_another() -> None:
    groups = [batch.group for batch in epoch(build(3))]
    assert groups == sorted(groups)
    assert set(groups) == {0, 1, 2}


def test_an_epoch_walks_through_the_phases_it_is_told() -> None:
    loader = build(3)
    batches = loader.epoch([2, 0])
    assert list(dict.fromkeys(batch.group for batch in batches)) == [2, 0]
    assert len(list(batches)) == len(batches)


@pytest.mark.parametrize("groups", [2, 3])
def test_an_epoch_has_n_minus_1_other_sequences_for_each_of_its_own(groups: int) -> None:
    batches = epoch(build(groups, train_batch_size=16))
    own = sum(batch.sequences for batch in batches)
    sizes = [(batch.group, len(batch.others[1])) for batch in batches if batch.others]
    assert sum(size for _, size in sizes) == (groups - 1) * own
    for phase in range(groups):
        in_phase = [size for group, size in sizes if group == phase]
        assert max(in_phase) - min(in_phase) <= 1


def test_a_last_batch_of_one_row_joins_the_one_before() -> None:
    loader = build(2, train_batch_size=16)
    size = len(loader.rows[0])
    loader.rows[0] = loader.rows[0][: size - size % 16 + 1 - 16]  # a multiple of 16, and one more
    sizes = [batch.sequences for batch in epoch(loader) if batch.group == 0]
    assert sizes == [16] * (len(loader.rows[0]) // 16 - 1) + [17]
    assert sum(sizes) == len(loader.rows[0])


def test_a_group_of_one_row_is_still_trained_on() -> None:
    loader = build(2)
    loader.rows[1] = loader.rows[1][:1]
    assert [b.sequences for b in epoch(loader) if b.group == 1] == [1]


@given(rows=st.integers(1, 200), step=st.integers(1, 40))
def test_batches_of_any_size_lose_no_row(rows: int, step: int) -> None:
    class Train:
        shuffle, num_workers, _dataset, generator = True, 0, None, torch.Generator()

    Train.step = step  # type: ignore[attr-defined]
    groups = torch.tensor([0] * rows + [1] * 7)
    loader = PhaseLoader(Train(), groups, "h", "t", with_others=True)
    plan = [own for group, own, _ in loader.plan(range(len(loader.rows))) if group == 0]
    assert sorted(torch.cat([torch.from_numpy(own) for own in plan]).tolist()) == [*range(rows)]
    assert len(plan) == loader.batches(0)
    sizes = [len(own) for own in plan]
    assert all(size == step for size in sizes[:-1])
    if step > 1 and rows > 1:
        assert 2 <= sizes[-1] <= step + 1


def test_workers_make_the_same_batches() -> None:
    def content(workers: int) -> list[Any]:
        return [
            (b.group, b.sequences, key(b["item_id_list"], b["item_id"]), key(*b.others))  # type: ignore[misc]
            for b in epoch(build(2, worker=workers, train_batch_size=32))
        ]

    assert content(0) == content(2)


def test_order_changes_from_epoch_to_epoch_unless_shuffle_is_off() -> None:
    def orders(**changes: Any) -> list[Any]:
        loader = build(2, **changes)
        return [[key(b["item_id_list"], b["item_id"]) for b in epoch(loader)] for _ in range(2)]

    first, second = orders()
    assert first != second
    first, second = orders(shuffle=False)
    assert first == second


def test_negatives_follow_their_positives() -> None:
    changes = {
        "loss_type": "BCE",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 3},
    }
    for batch in epoch(build(2, train_batch_size=32, **changes)):
        size = batch.sequences
        assert len(batch) == 4 * size
        assert batch["label"].tolist() == [1.0] * size + [0.0] * 3 * size
        for block in range(1, 4):
            rows = slice(block * size, (block + 1) * size)
            assert torch.equal(batch["item_id_list"][rows], batch["item_id_list"][:size])


def together(mixed: bool, **changes: Any) -> PhaseLoader:
    """Return a loader whose epoch is RecBole's own: of one group, or of three that are mixed."""
    _, (train_data, _, _), _ = assemble("SASRec", weighting="none", **changes)
    users = train_data._dataset.inter_feat["user_id"]
    groups = deal_users(users, 3, seed=7) if mixed else torch.zeros_like(users)
    return PhaseLoader(train_data, groups, "item_id_list", "item_id", False, mixed)


@pytest.mark.parametrize("workers", fast([0, 2]))
@pytest.mark.parametrize("mixed", [False, True])
def test_an_epoch_without_phases_is_recboles_own(mixed: bool, workers: int) -> None:
    changes = {
        "loss_type": "BPR",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "worker": workers,
    }

    def content(batches: Any) -> list[Any]:
        torch.manual_seed(3)
        np.random.seed(3)
        state = torch.get_rng_state()
        seen = [{name: x.tolist() for name, x in b.interaction.items()} for b in batches]
        assert torch.equal(state, torch.get_rng_state()), "nothing is drawn that models draw from"
        return seen

    ours, theirs = together(mixed, **changes), together(mixed, **changes).train_data
    for _ in range(3):
        epoch = ours.epoch()
        found, expected = content(epoch), content(theirs)
        assert found == expected
        assert len(found) == len(epoch)
        assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())


def test_sequences_of_mixed_groups_know_their_group() -> None:
    loader = together(mixed=True)
    users = loader.dataset.inter_feat["user_id"]
    dealt = dict(zip(users.tolist(), deal_users(users, 3, seed=7).tolist()))
    several = 0
    for batch in loader:
        assert isinstance(batch.group, Tensor)
        assert batch.group.tolist() == [dealt[user] for user in batch["user_id"].tolist()]
        several += len(set(batch.group.tolist())) > 1
        assert batch.rows is not None
        assert torch.equal(batch["user_id"], users[batch.rows])
    assert several
    assert [len(rows) for rows in loader.rows] == [
        sum(dealt[user] == group for user in users.tolist()) for group in range(3)
    ]


@pytest.mark.parametrize("mixed", [False, True])
def test_without_phases_too_a_last_single_row_joins(mixed: bool) -> None:
    rows = len(together(mixed).dataset.inter_feat)
    step = next(size for size in range(2, rows) if rows % size == 1)
    loader = together(mixed, train_batch_size=step)
    sizes = [batch.sequences for batch in loader]
    assert sizes == [step] * (rows // step - 1) + [step + 1]
    assert len(loader) == len(sizes)


def test_what_recbole_leaves_out_is_left_out() -> None:
    """Its loader drops a single last row for models that fail on it."""
    rows = len(together(mixed=False).dataset.inter_feat)
    step = next(size for size in range(2, rows) if rows % size == 1)
    loader = together(mixed=False, train_batch_size=step)
    loader.train_data.batch_sampler.drop_last = True
    assert [batch.sequences for batch in loader] == [step] * (rows // step)
    assert len(loader) == rows // step


def test_without_others_nothing_goes_along() -> None:
    assert all(batch.others is None for batch in epoch(build(2, with_others=False)))


def test_moving_to_a_device_keeps_what_a_batch_carries() -> None:
    batch = epoch(build(2))[0]
    moved = batch.to(torch.device("cpu"))
    assert (moved.group, moved.sequences) == (batch.group, batch.sequences)
    assert moved.others is not None
    assert batch.others is not None
    assert torch.equal(moved.others[0], batch.others[0])


def test_once_around_for_training_the_recogniser_alone() -> None:
    loader = build(3)
    users = users_of(loader)
    found: dict[int, list[Any]] = {}
    for group, history, target in loader.other_sequences():
        found.setdefault(group, []).extend(key(history, target))
    owners = [{users[s] for s in key(*loader.sequences_of(rows))} for rows in loader.rows]
    for group, sequences in found.items():
        assert len(sequences) == len(set(sequences)) == len(loader.others[group])
        assert owners[group].isdisjoint(users[s] for s in sequences)
