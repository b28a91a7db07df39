"""Repairs of what RecBole's loaders hold beside their data: a Python number for each row, twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
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
