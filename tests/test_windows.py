"""Lazy windows against hand-worked histories, a naive loop, and RecBole's own Interaction."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.data.history import History, HistoryField
from recbole_atjt.data.windows import WindowBase, WindowColumns, Windows, find_windows, pad

# Users 1 (items 11 to 14), 2 (one item, no window) and 3 (items 31, 32); L = 2.
USERS = torch.tensor([1, 1, 1, 1, 2, 3, 3])
ITEMS = torch.tensor([11, 12, 13, 14, 21, 31, 32])
HISTORIES = [[11, 0], [11, 12], [12, 13], [31, 0]]


def make_windows(
    columns: dict[str, Tensor], max_length: int, seq_length: dict[str, int] | None = None
) -> Windows:
    padded = {name: pad(column) for name, column in columns.items()}
    histories = {}
    for name, column in padded.items():
        if name != "user":
            inner = list(column.shape[1:])
            if name in (seq_length or {}):
                inner[0] = (seq_length or {})[name]
            field = HistoryField(column, (max_length, *inner), column.dtype)
            histories[f"{name}_list"] = field
    target, length = find_windows(columns["user"].numpy(), max_length)
    base = WindowBase(padded, histories, "item_length", max_length)
    return Windows(WindowColumns(base, target, length))


def make_small() -> Windows:
    return make_windows({"user": USERS, "item": ITEMS}, max_length=2)


def make_padded() -> Interaction:
    """Return what RecBole would hold in the place of `make_small`."""
    return Interaction(
        {
            "user": torch.tensor([1, 1, 1, 3]),
            "item": torch.tensor([12, 13, 14, 32]),
            "item_length": torch.tensor([1, 2, 2, 1]),
            "item_list": torch.tensor(HISTORIES),
        }
    )


def assert_same(ours: Any, theirs: Any) -> None:
    assert ours.columns == theirs.columns
    assert len(ours) == len(theirs)
    for name in theirs.columns:
        column = ours[name]
        column = column[:] if isinstance(column, History) else column
        assert column.dtype == theirs[name].dtype
        assert torch.equal(column, theirs[name]), name


def test_hand_worked_windows() -> None:
    target, length = find_windows(USERS.numpy(), 2)
    assert target.tolist() == [1, 2, 3, 6]
    assert length.tolist() == [1, 2, 2, 1]
    assert (target.dtype, length.dtype) == (torch.int32, torch.int16)
    assert_same(make_small(), make_padded())
    assert_same(make_small().materialize(slice(None)), make_padded())


def test_no_user_has_two_interactions() -> None:
    for users in (np.array([1, 2, 3]), np.array([], dtype=np.int64)):
        target, length = find_windows(users, 5)
        assert len(target) == len(length) == 0


def naive_columns(
    columns: dict[str, Tensor], max_length: int, seq_length: dict[str, int]
) -> dict[str, Tensor]:
    """Build every prefix of every user, one by one."""
    users = columns["user"].tolist()
    rows: list[tuple[int, int]] = []
    for row, user in enumerate(users):
        first = users.index(user)
        if row > first:
            rows.append((max(first, row - max_length), row))
    targets = [row for _, row in rows]
    result = {name: column[targets] for name, column in columns.items()}
    result["item_length"] = torch.tensor([end - start for start, end in rows], dtype=torch.int64)
    for name, column in columns.items():
        if name == "user":
            continue
        inner = list(column.shape[1:])
        if name in seq_length:
            inner[0] = seq_length[name]
        lists = torch.zeros((len(rows), max_length, *inner), dtype=column.dtype)
        for window, (start, end) in enumerate(rows):
            values = column[start:end]
            if name in seq_length:
                lists[window, : end - start, : column.shape[1]] = values
            else:
                lists[window, : end - start] = values
        result[f"{name}_list"] = lists
    return result


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 7), max_size=8),
    max_length=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_windows_equal_a_naive_loop(sizes: list[int], max_length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    users = torch.repeat_interleave(torch.arange(len(sizes)) + 1, torch.tensor(sizes).long())
    n = len(users)
    columns = {
        "user": users,
        "item": torch.randint(1, 50, (n,), generator=generator),
        "rating": torch.rand(n, generator=generator),
        "price": torch.rand((n, 2), generator=generator),  # a numerical feature
        "tags": torch.randint(0, 9, (n, 3), generator=generator),  # a token sequence
        "scores": torch.rand((n, 2, 2), generator=generator),  # a numerical sequence
    }
    seq_length = {"tags": 5, "scores": 2}
    windows = make_windows(columns, max_length, seq_length)
    expected = naive_columns(columns, max_length, seq_length)
    assert windows.columns == list(expected)
    rows = torch.randint(0, max(len(windows), 1), (4 if len(windows) else 0,), generator=generator)
    batch = windows.materialize(rows.numpy())
    for name, column in expected.items():
        assert batch[name].dtype == column.dtype
        assert torch.equal(batch[name], column[rows]), name
        lazy = windows[name]
        if isinstance(lazy, History):
            assert lazy.shape == column.shape
            assert torch.equal(lazy[:], column), name
            assert all(torch.equal(lazy[int(row)], column[row]) for row in rows)


INDICES: list[Any] = [
    [2, 0, 2],
    [],
    range(1, 3),
    np.array([3, 1]),
    np.array([], dtype=np.int64),
    torch.tensor([0, 3]),
    torch.tensor([-1, 0], dtype=torch.int32),
    slice(1, None),
    slice(None, None, 2),
    torch.tensor([True, False, False, True]),
    np.array([False, True, True, False]),
    [True, False, True, False],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_index_gives_what_recbole_gives(index: Any) -> None:
    windows, padded = make_small(), make_padded()
    subset = windows[index]
    assert isinstance(subset, Windows)
    assert subset.interaction.base is windows.interaction.base
    assert_same(subset, padded[index])
    assert_same(windows.materialize(index), padded[index])
    assert torch.equal(windows["item_list"][index], padded["item_list"][index])
    assert_same(windows[1:][[0, 2]], padded[1:][[0, 2]])


@pytest.mark.parametrize("index", [0, -1, np.int64(2), torch.tensor(1), np.array(3)], ids=str)
def test_a_single_window_gives_what_recbole_gives(index: Any) -> None:
    windows, padded = make_small(), make_padded()
    assert torch.equal(windows["item_list"][index], padded["item_list"][int(index)])
    assert_same(windows[index], padded[int(index)])
    with pytest.raises(IndexError):
        windows["item_list"][4]


def test_positions_of_a_history() -> None:
    history, padded = make_small()["item_list"], make_padded()["item_list"]
    for where in [
        (slice(None), 0),
        (slice(None), -1),
        (slice(1, 3), slice(0, 1)),
        (np.array([2, 0]), 1),
        (3, 0),
    ]:
        assert torch.equal(history[where], padded[where])
    assert history.shape == padded.shape
    assert history.dtype == padded.dtype
    assert len(history) == 4
    np.testing.assert_array_equal(history.numpy(), padded.numpy())
    np.testing.assert_array_equal(np.asarray(history), padded.numpy())


def test_sort_is_recboles() -> None:
    for by in ("item_length", ["item_length", "user"], ["user", "item"]):
        windows, padded = make_small(), make_padded()
        windows.sort(by=by)
        padded.sort(by=by)
        assert_same(windows, padded)
    with pytest.raises(ValueError, match="no_such_field"):
        make_small().sort(by="no_such_field")


def test_shuffle_draws_as_recbole_does() -> None:
    windows, padded = make_small(), make_padded()
    torch.manual_seed(3)
    windows.shuffle()
    torch.manual_seed(3)
    padded.shuffle()
    assert_same(windows, padded)


def test_own_columns_follow_their_windows() -> None:
    windows, padded = make_small(), make_padded()
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4])
    for interaction in (windows, padded):
        interaction["weight"] = weight
        interaction.update(Interaction({"item": torch.tensor([1, 2, 3, 4])}))
        interaction.sort(by="item_length")
    assert_same(windows, padded)
    assert_same(windows[[3, 0]], padded[[3, 0]])
    assert_same(windows.materialize(np.array([2])), padded[np.array([2])])
    with pytest.raises(ValueError, match="3 rows"):
        windows["weight"] = weight[:3]


def test_own_history_takes_the_place_of_the_lazy_one() -> None:
    windows = make_small()
    windows["other_list"] = windows["item_list"]
    windows["item_list"] = torch.ones(4, 2, dtype=torch.int64)
    assert windows.materialize([1])["item_list"].tolist() == [[1, 1]]
    assert windows.materialize([1])["other_list"].tolist() == [[11, 12]]


def test_dropped_columns_are_gone_in_this_subset_only() -> None:
    windows = make_small()
    subset = windows[:]
    subset.drop("item")
    del subset["item_length"]
    assert subset.columns == ["user", "item_list"]
    assert subset.materialize([0]).columns == ["user", "item_list"]
    assert "item" not in subset
    assert list(windows) == ["user", "item", "item_length", "item_list"]
    with pytest.raises(KeyError):
        subset["item"]
    with pytest.raises(ValueError, match="item"):
        subset.drop("item")


def test_copies_share_the_base_but_not_the_columns() -> None:
    windows = make_small()
    windows["weight"] = torch.zeros(4)
    other = copy.deepcopy(windows)
    other["weight"] += 1
    other.shuffle()
    other.drop("item")
    assert windows["weight"].tolist() == [0, 0, 0, 0]
    assert windows["item"].tolist() == [12, 13, 14, 32]
    assert other.interaction.base is windows.interaction.base
    assert_same(pickle.loads(pickle.dumps(windows)), windows.materialize(slice(None)))


def test_it_passes_for_an_interaction() -> None:
    windows = make_small()
    assert isinstance(windows, Interaction)
    assert "item_list" in windows
    assert list(windows.interaction) == windows.columns
    assert windows.item.tolist() == [12, 13, 14, 32]
    numpy = windows.numpy()
    assert numpy["item_list"].tolist() == HISTORIES
    assert "item_list, torch.Size([4, 2])" in str(windows)


def test_columns_gathered_on_access_can_be_freed() -> None:
    windows = make_small()
    first = windows["item"]
    assert windows["item"] is first
    windows.interaction.forget()
    assert windows["item"] is not first
    assert torch.equal(windows["item"], first)
