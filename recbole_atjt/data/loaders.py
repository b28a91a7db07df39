"""Loader pairs: batches that train the recommender beside batches that train the recogniser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Optional, Union

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.utils.data import DataLoader

#: A batch before it is made: group, rows of B^R, rows of B^D.
Planned = tuple[int, np.ndarray, Optional[Tensor]]
#: Group of a batch, or of each of its sequences, ``[S]``.
GroupOf = Union[int, Tensor]


class PairedBatch(Interaction):
    """A batch of B^R that carries the sequences of B^D which go with it.

    Args:
        batch: RecBole's own batch.
        group: Group of its users: the phase's, or of each sequence, ``[S]``.
        sequences: Number S of its sequences; the other rows are their sampled negatives.
        others: Histories ``[D, L]`` and targets ``[D]`` of other groups' users, or None.
        rows: Rows of its sequences among the training samples, ``[S]``; None where unknown.
    """

    def __init__(
        self,
        batch: Interaction,
        group: GroupOf,
        sequences: int,
        others: tuple[Tensor, Tensor] | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        super().__init__(batch.interaction)
        self.rows = rows
        self.group = group
        self.sequences = sequences
        self.others = others

    def to(self, device: torch.device, selected_field: Any = None) -> PairedBatch:
        """Move the batch and what it carries to ``device``."""
        return self._with(super().to(device, selected_field), lambda each: each.to(device))

    def copied(self, copy: Callable[[Tensor], Tensor]) -> PairedBatch:
        """Return a batch of copies of its columns and of what it carries."""
        columns = {name: copy(column) for name, column in self.interaction.items()}
        return self._with(Interaction(columns), copy)

    def _with(self, batch: Interaction, copy: Callable[[Tensor], Tensor]) -> PairedBatch:
        group, others = self.group, self.others
        if isinstance(group, Tensor):
            group = copy(group)
        if others is not None:
            others = (copy(others[0]), copy(others[1]))
        return PairedBatch(batch, group, self.sequences, others, self.rows)


class _Indices:
    """A map-style dataset of indices that hands a whole batch of them on at once."""

    def __getitems__(self, index: Any) -> Any:
        return index

    def __getitem__(self, index: Any) -> Any:
        return index


class PhaseLoader:
    """Walks through the phases of an epoch: group by group, each beside all the other groups.

    Batches are made by RecBole's own training loader (transforms and negative sampling
    included); only the choice of rows is ours. Where there is one group, or groups are mixed, the
    choice is RecBole's, too, and so is what it draws: the epoch is that of plain training. A last
    batch of one sequence joins the batch before it, since several models cannot train on a single
    row; that is the one difference.

    Args:
        train_data: RecBole's training loader.
        groups: Group of each training sample, ``[n]``.
        history_field: Column of the histories' items.
        target_field: Column of the target items.
        with_others: Whether B^D goes along; not where groups are mixed.
        mixed: Whether an epoch has no phases, and batches hold users of all groups.
    """

    def __init__(
        self,
        train_data: Any,
        groups: Tensor,
        history_field: str,
        target_field: str,
        with_others: bool,
        mixed: bool = False,
    ) -> None:
        self.train_data = train_data
        self.shuffle = train_data.shuffle
        self.dataset = train_data._dataset
        self.history_field, self.target_field = history_field, target_field
        self.with_others = with_others
        self.groups = groups if mixed else None
        n_groups = int(groups.max()) + 1
        #: Whether an epoch is RecBole's own.
        self.together = mixed or n_groups == 1
        self.rows = [(groups == group).nonzero().squeeze(1) for group in range(n_groups)]
        self.others = [(groups != group).nonzero().squeeze(1) for group in range(n_groups)]
        self.generator: torch.Generator = train_data.generator

    def epoch(self, order: Sequence[int] | None = None) -> Epoch:
        """Return the batches of an epoch that walks through groups in an order; all by default.

        Where the epoch is RecBole's own there is no order.
        """
        return Epoch(self, range(len(self.rows)) if order is None else order)

    def __iter__(self) -> Iterator[PairedBatch]:
        return iter(self.epoch())

    def __len__(self) -> int:
        return len(self.epoch())

    def batches(self, group: int) -> int:
        """Count the batches of a phase."""
        return _batches(len(self.rows[group]), self.train_data.step)

    def count(self, order: Sequence[int]) -> int:
        """Count the batches of an epoch."""
        if self.together:
            sampler = self.train_data.batch_sampler
            return _batches(len(sampler.sampler), sampler.batch_size)
        return sum(self.batches(group) for group in order)

    def _permute(self, rows: Tensor) -> Tensor:
        if not self.shuffle:
            return rows
        return rows[torch.randperm(len(rows), generator=self.generator)]

    def plan(self, order: Sequence[int]) -> Iterator[Planned]:
        """Yield the rows of each batch: group, rows of B^R, rows of B^D."""
        if self.together:
            yield from ((0, rows, None) for rows in self._rows_of_recbole(self.count(order)))
            return
        for group in order:
            count = self.batches(group)
            cuts = [self.train_data.step * i for i in range(1, count)]
            own = np.split(self._permute(self.rows[group]).numpy(), cuts)
            if not self.with_others:
                yield from ((group, rows, None) for rows in own)
                continue
            others = torch.tensor_split(self._permute(self.others[group]), count)
            yield from ((group, rows, other) for rows, other in zip(own, others))

    def _rows_of_recbole(self, count: int) -> Iterator[np.ndarray]:
        """Yield the rows of RecBole's batches; a single row that is left joins the last of them."""
        batches = iter(self.train_data.batch_sampler)
        for number, rows in enumerate(batches, 1):
            left = chain.from_iterable(batches) if number == count else ()
            yield np.array([*rows, *left])

    def collate(self, planned: Planned) -> PairedBatch:
        """Make a planned batch."""
        group, rows, others = planned
        batch = self.train_data.collate_fn(rows)
        if self.groups is not None:
            return PairedBatch(batch, self.groups[rows], len(rows), None, rows)
        if others is None or not len(others):
            return PairedBatch(batch, group, len(rows), None, rows)
        return PairedBatch(batch, group, len(rows), self.sequences_of(others), rows)

    def first_batch(self, most: int = 64) -> PairedBatch:
        """Return a small batch of the first rows, whatever the order of an epoch."""
        rows = self.rows[0][: min(most, self.train_data.step)]
        return self.collate((0, rows.numpy(), None))

    def sequences_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return history ``[D, L]`` and target ``[D]`` of training samples."""
        columns = self.dataset.inter_feat
        return columns[self.history_field][rows], columns[self.target_field][rows]

    def other_sequences(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield ``(group, history, target)`` of the users outside each group, once around."""
        for group in range(len(self.rows)):
            for rows in torch.split(self._permute(self.others[group]), self.train_data.step):
                yield (group, *self.sequences_of(rows))


class Epoch:
    """The batches of one epoch, where RecBole's trainer expects a loader.

    All that is drawn to choose rows comes from RecBole's own generator of them, none from the
    generators that a model draws from.

    Args:
        loader: What makes the batches.
        order: Groups in the order in which they are walked through.
    """

    def __init__(self, loader: PhaseLoader, order: Sequence[int]) -> None:
        self._loader, self._order = loader, list(order)
        self.shuffle = loader.shuffle

    def __len__(self) -> int:
        return self._loader.count(self._order)

    def __iter__(self) -> Iterator[PairedBatch]:
        return iter(
            DataLoader(
                _Indices(),  # type: ignore[arg-type]
                batch_sampler=_Plan(self._loader, self._order),  # type: ignore[arg-type]
                collate_fn=self._loader.collate,  # type: ignore[arg-type]
                num_workers=self._loader.train_data.num_workers,
                generator=self._loader.generator,
            )
        )


class _Plan:
    """What an epoch's batches hold, made while they are asked for."""

    def __init__(self, loader: PhaseLoader, order: Sequence[int]) -> None:
        self._loader, self._order = loader, order

    def __len__(self) -> int:
        return self._loader.count(self._order)

    def __iter__(self) -> Iterator[Planned]:
        return self._loader.plan(self._order)


def _batches(rows: int, step: int) -> int:
    """Count batches, of which the last one has two rows at least, or all there are."""
    full, rest = divmod(rows, step)
    return int(max(1, full + (rest > 1)))
