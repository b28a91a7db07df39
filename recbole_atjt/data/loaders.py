"""Loader pairs: batches that train the recommender beside batches that train the recogniser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.utils.data import DataLoader


class PairedBatch(Interaction):
    """A batch of B^R that carries the sequences of B^D which go with it.

    Args:
        batch: RecBole's own batch, from users of ``group``.
        group: The phase's group.
        sequences: Number S of its sequences; the other rows are their sampled negatives.
        others: Histories ``[D, L]`` and targets ``[D]`` of other groups' users, or None.
    """

    def __init__(
        self,
        batch: Interaction,
        group: int,
        sequences: int,
        others: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__(batch.interaction)
        self.group = group
        self.sequences = sequences
        self.others = others

    def to(self, device: torch.device, selected_field: Any = None) -> PairedBatch:
        """Move the batch and what it carries to ``device``."""
        moved = super().to(device, selected_field)
        if self.others is None:
            return PairedBatch(moved, self.group, self.sequences)
        others = (self.others[0].to(device), self.others[1].to(device))
        return PairedBatch(moved, self.group, self.sequences, others)


class _Indices:
    """A map-style dataset of indices that hands a whole batch of them on at once."""

    def __getitems__(self, index: Any) -> Any:
        return index

    def __getitem__(self, index: Any) -> Any:
        return index


class PhaseLoader:
    """Walks through the phases of an epoch: group by group, each beside all the other groups.

    Batches are made by RecBole's own training loader (transforms and negative sampling
    included); only the choice of rows is ours. A last batch of one sequence joins the batch
    before it, since several models cannot train on a single row.

    Args:
        train_data: RecBole's training loader.
        groups: Group of each training sample, ``[n]``.
        history_field: Column of the histories' items.
        target_field: Column of the target items.
        with_others: Whether B^D goes along.
    """

    def __init__(
        self,
        train_data: Any,
        groups: Tensor,
        history_field: str,
        target_field: str,
        with_others: bool,
    ) -> None:
        self.train_data = train_data
        self.shuffle = train_data.shuffle
        self.dataset = train_data._dataset
        self.history_field, self.target_field = history_field, target_field
        self.with_others = with_others
        n_groups = int(groups.max()) + 1
        self.rows = [(groups == group).nonzero().squeeze(1) for group in range(n_groups)]
        self.others = [(groups != group).nonzero().squeeze(1) for group in range(n_groups)]
        self.phases = list(range(n_groups))
        self.generator = torch.Generator()
        self.generator.manual_seed(train_data.config["seed"])

    def __len__(self) -> int:
        return sum(self._batches(group) for group in self.phases)

    def _batches(self, group: int) -> int:
        """Count the batches of a phase."""
        full, rest = divmod(len(self.rows[group]), self.train_data.step)
        return int(max(1, full + (rest > 1)))

    def _permute(self, rows: Tensor) -> Tensor:
        if not self.shuffle:
            return rows
        return rows[torch.randperm(len(rows), generator=self.generator)]

    def _plan(self) -> Iterator[tuple[int, np.ndarray, Tensor | None]]:
        """Yield the rows of each batch: group, rows of B^R, rows of B^D."""
        for group in self.phases:
            count = self._batches(group)
            cuts = [self.train_data.step * i for i in range(1, count)]
            own = np.split(self._permute(self.rows[group]).numpy(), cuts)
            if not self.with_others:
                yield from ((group, rows, None) for rows in own)
                continue
            others = torch.tensor_split(self._permute(self.others[group]), count)
            yield from ((group, rows, other) for rows, other in zip(own, others))

    def _collate(self, planned: tuple[int, np.ndarray, Tensor | None]) -> PairedBatch:
        group, rows, others = planned
        batch = self.train_data.collate_fn(rows)
        if others is None or not len(others):
            return PairedBatch(batch, group, len(rows))
        return PairedBatch(batch, group, len(rows), self.sequences_of(others))

    def first_batch(self, most: int = 64) -> PairedBatch:
        """Return a small batch of the first rows, whatever the order of the epoch."""
        rows = self.rows[self.phases[0]][: min(most, self.train_data.step)]
        return self._collate((self.phases[0], rows.numpy(), None))

    def sequences_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return history ``[D, L]`` and target ``[D]`` of training samples."""
        columns = self.dataset.inter_feat
        return columns[self.history_field][rows], columns[self.target_field][rows]

    def other_sequences(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield ``(group, history, target)`` of the users outside each group, once around."""
        for group in self.phases:
            for rows in torch.split(self._permute(self.others[group]), self.train_data.step):
                yield (group, *self.sequences_of(rows))

    def __iter__(self) -> Iterator[PairedBatch]:
        return iter(
            DataLoader(
                _Indices(),  # type: ignore[arg-type]
                batch_sampler=list(self._plan()),  # type: ignore[arg-type]
                collate_fn=self._collate,  # type: ignore[arg-type]
                num_workers=self.train_data.num_workers,
            )
        )
