"""Clicks in the order of time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from recbole_atjt.data.clicks import clicks_in_order


def dataset(**columns: list[float]) -> Any:
    rows = {name: torch.tensor(values) for name, values in columns.items()}
    names = {"uid_field": "u", "iid_field": "i", "time_field": "t", "label_field": "label"}
    return SimpleNamespace(inter_feat=rows, **names)


def test_they_are_sorted_by_user_and_time_and_ties_stay() -> None:
    found = clicks_in_order(dataset(u=[2, 1, 2, 1, 2], i=[5, 6, 7, 8, 9], t=[3, 2, 1, 1, 3]))
    assert [each.tolist() for each in found] == [[1, 1, 2, 2, 2], [8, 6, 7, 5, 9]]


def test_without_time_rows_are_in_order() -> None:
    found = clicks_in_order(dataset(u=[2, 1, 2], i=[5, 6, 7]))
    assert [each.tolist() for each in found] == [[1, 2, 2], [6, 5, 7]]


def test_rows_that_are_labelled_as_none_are_left_out() -> None:
    found = clicks_in_order(dataset(u=[1, 1, 1], i=[5, 6, 7], t=[3, 2, 1], label=[1, 0, 1]))
    assert [each.tolist() for each in found] == [[1, 1], [7, 5]]
