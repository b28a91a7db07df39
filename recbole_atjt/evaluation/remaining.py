"""A loader for evaluation without some of its positives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from torch import Tensor

Batch = tuple[Any, Any, Any, Any]
"""RecBole's batch for evaluation: rows, then what depends on the mode.

* Full ranking: one row for each query; query and item of what is not ranked, or None; query ``[P]``
  and item ``[P]`` of each positive.
* Sampled candidates: one row for each candidate, a query's P positives first, candidate j drawn for
  positive ``j % P``; query of each row; query and item of each positive.
* Labelled: one row for each interaction; three times None.
"""


class RemainingPositives:
    """Walks through a loader's batches, without the positives that were dropped.

    A query that has lost all its positives is left out, and so is a batch without queries. Where
    others are left to a query, its dropped positives are no candidates either: they neither count
    for the model nor against it. With sampled candidates, a positive's own candidates go with it.

    Args:
        loader: RecBole's loader of a validation or test set.
        dropped: Whether each positive is dropped, in the loader's order, ``[n]``.
    """

    def __init__(self, loader: Any, dropped: Tensor) -> None:
        self._loader = loader
        self._dataset = loader._dataset
        self._dropped = dropped

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        label_field, seen = self._loader.config["LABEL_FIELD"], 0
        for batch in self._loader:
            count = count_positives(batch, label_field)
            rest = without(batch, self._dropped[seen : seen + count], label_field)
            seen += count
            if len(rest[0]):
                yield rest


class RemainingRankings(RemainingPositives, FullSortEvalDataLoader):  # type: ignore[misc,unused-ignore]
    """The same for full ranking, which RecBole's trainer tells by the loader's class."""


def remaining(loader: Any, dropped: Tensor) -> RemainingPositives:
    """Return a view of ``loader`` without the positives that ``dropped [n]`` marks."""
    full = isinstance(loader, FullSortEvalDataLoader)
    return (RemainingRankings if full else RemainingPositives)(loader, dropped)


def labelled_positives(interaction: Interaction, label_field: str) -> Tensor:
    """Return the rows with a positive label; none where there are no labels."""
    if label_field not in interaction:
        return torch.empty(0, dtype=torch.long)
    label: Tensor = interaction[label_field]
    return (label > 0).nonzero().squeeze(1)


def count_positives(batch: Batch, label_field: str) -> int:
    """Count the positives of a batch."""
    interaction, _, _, positive_i = batch
    return len(labelled_positives(interaction, label_field) if positive_i is None else positive_i)


def without(batch: Batch, dropped: Tensor, label_field: str) -> Batch:
    """Return a batch without some of its positives.

    Args:
        batch: RecBole's batch for evaluation, on the CPU.
        dropped: Whether each of its P positives is dropped, ``[P]``.
        label_field: Column of the labels.
    """
    interaction, extra, positive_u, positive_i = batch
    if positive_u is None:
        stays = torch.ones(len(interaction), dtype=torch.bool)
        stays[labelled_positives(interaction, label_field)[dropped]] = False
        return _rows(interaction, stays), None, None, None
    if torch.is_tensor(extra):
        return _without_candidates(batch, dropped)
    queries, left_u = positive_u[~dropped].unique(return_inverse=True)
    number = torch.full((len(interaction),), -1)  # of each query among those that stay
    number[queries] = torch.arange(len(queries))
    unranked_u, unranked_i = number[positive_u[dropped]], positive_i[dropped]
    if extra is not None:
        unranked_u = torch.cat((number[extra[0]], unranked_u))
        unranked_i = torch.cat((extra[1], unranked_i))
    stays = unranked_u >= 0
    unranked = (unranked_u[stays], unranked_i[stays]) if stays.any() else None
    return _rows(interaction, queries), unranked, left_u, positive_i[~dropped]


def _without_candidates(batch: Batch, dropped: Tensor) -> Batch:
    """Drop positives and the candidates that were drawn for them."""
    interaction, query, positive_u, positive_i = batch
    positives, rows = positive_u.bincount(), query.bincount()
    within = torch.arange(len(query)) - _starts(rows)[query]
    positive = _starts(positives)[query] + within % positives[query]
    stays = ~dropped[positive]
    _, left = query[stays].unique(return_inverse=True)
    _, left_u = positive_u[~dropped].unique(return_inverse=True)
    return _rows(interaction, stays), left, left_u, positive_i[~dropped]


def _starts(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts


def _rows(interaction: Interaction, index: Tensor) -> Interaction:
    return Interaction({name: column[index] for name, column in interaction.interaction.items()})
