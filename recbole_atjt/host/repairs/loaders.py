"""Repairs of what RecBole's loaders make of rows: a Python number for each, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from recbole_atjt.host.repairs.override import override

#: Rows that become Python numbers together.
_PART = 2**16


def hold_no_lists_of_rows() -> None:
    """Keep rows as a range, and a shuffle as a tensor (``dataloader/abstract_dataloader.py:66``).

    A list of the rows and torch's list of their shuffled order take 80 bytes a row. Batches are
    the same, and so is the state of the generator.
    """
    from recbole.data.dataloader import abstract_dataloader as module

    vars(module)["list"] = RowNumbers

    @override(module.AbstractDataLoader, "__init__")
    def initialize(
        original: Callable[..., None], loader: Any, config: Any, *args: Any, **kwargs: Any
    ) -> None:
        original(loader, config, *args, **kwargs)
        batches = loader.batch_sampler
        if type(batches.sampler) is RandomSampler:
            batches.sampler = Shuffled(batches.sampler.data_source, generator=loader.generator)


def select_rows_at_once() -> None:
    """Take rows of columns by a tensor, not by a list of its numbers (``data/interaction.py:137``).

    By a list each column of a batch takes a hundred times as long. What is taken is the same.
    """
    from recbole.data.interaction import Interaction

    @override(Interaction, "__getitem__")
    def getitem(original: Callable[..., Any], columns: Any, index: Any) -> Any:
        rows = _rows(index)
        if rows is None:
            return original(columns, index)
        found = {
            name: values.index_select(0, rows.to(values.device))
            for name, values in columns.interaction.items()
        }
        return Interaction(found)


def _rows(index: Any) -> Tensor | None:
    """Return the numbers of rows that an index is a vector of, none negative; else None."""
    if isinstance(index, np.ndarray) and index.dtype.kind in "iu":
        index = torch.as_tensor(index.astype(np.int64, copy=False))
    if not torch.is_tensor(index) or index.ndim != 1 or index.dtype != torch.long:
        return None
    return index if len(index) and int(index.min()) >= 0 else None


class RowNumbers:
    """The numbers of rows, as a dataset that hands a batch's numbers on.

    Args:
        rows: All of them, from 0.
    """

    def __init__(self, rows: range) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return self._rows[index]

    def __getitems__(self, index: Any) -> Any:
        return index


class Shuffled(RandomSampler):
    """Torch's random sampler, number by number, without a list of them all."""

    def __iter__(self) -> Iterator[int]:
        for part in torch.randperm(len(self), generator=self.generator).split(_PART):
            yield from part.tolist()
        torch.randperm(len(self), generator=self.generator)  # torch draws one more and uses none
