"""Rows of RecBole's columns by a tensor: what RecBole takes by a list of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

import recbole_atjt  # noqa: F401  # repairs RecBole

COLUMNS = {
    "item": torch.arange(20, 30),
    "history": torch.arange(30).view(10, 3),
    "time": torch.linspace(0, 1, 10, dtype=torch.double),
}


@pytest.mark.parametrize(
    "index",
    [
        np.array([3, 0, 3, 9]),
        np.array([2], dtype=np.int32),
        torch.tensor([9, 8, 1]),
        np.array([-1, 4]),  # RecBole counts from the end
        torch.tensor([-10]),
        np.arange(10) % 2 == 0,
        torch.arange(10) > 6,
        torch.tensor([], dtype=torch.long),
        np.array([]),
        np.array(4),
        slice(2, 5),
        [1, 5],
    ],
    ids=str,
)
def test_rows_are_those_of_recbole(index: Any) -> None:
    found, expected = Interaction(COLUMNS)[index], original(Interaction(COLUMNS), index)
    assert list(found.interaction) == list(expected.interaction)
    assert found.length == expected.length
    for name, values in expected.interaction.items():
        assert torch.equal(found[name], values)
        assert found[name].dtype == values.dtype


def original(columns: Interaction, index: Any) -> Interaction:
    """Take rows as RecBole does."""
    found: Interaction = Interaction.__getitem__.__wrapped__(columns, index)
    return found


@pytest.mark.parametrize("index", [torch.tensor([10]), np.array([0, 10]), torch.tensor([-11])])
def test_a_row_that_is_not_there_is_an_error(index: Any) -> None:
    for take in (original, Interaction.__getitem__):
        with pytest.raises(IndexError):
            take(Interaction(COLUMNS), index)


def test_what_is_taken_is_a_copy_and_a_column_a_name() -> None:
    columns = Interaction({name: values.clone() for name, values in COLUMNS.items()})
    columns[np.array([1, 2])]["item"].zero_()
    assert torch.equal(columns["item"], COLUMNS["item"])
