"""Sampled negatives of a query, for value metrics."""

from __future__ import annotations

import torch
from torch import Tensor

_REDRAWS = 8


def sample_negatives(
    shape: tuple[int, int],
    excluded_u: Tensor,
    excluded_i: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` items for each row uniformly, with replacement, from its candidates.

    Candidates are the items 1 to n - 1 (0 is padding) that are not excluded.

    Args:
        shape: Rows and items n, the padding included.
        excluded_u: Row of each item that is no candidate, ``[E]``; its positives among them.
        excluded_i: That item, ``[E]``.
        count: Items drawn for each row.
        generator: A generator on the CPU, so that every device draws alike.

    Returns:
        Rows, ascending, and items of the draws, each ``[rows * count]``; rows without a candidate
        have none.
    """
    n_rows, n_items = shape
    excluded = _Excluded(n_items, excluded_u, excluded_i)
    rows = torch.arange(n_rows)
    items = torch.randint(1, n_items, (n_rows, count), generator=generator)
    out = excluded.among(rows, items)
    for _ in range(_REDRAWS):
        missing = int(out.sum())
        if not missing:
            break
        items[out] = torch.randint(1, n_items, (missing,), generator=generator)
        out = excluded.among(rows, items)
    keep = torch.ones(n_rows, dtype=torch.bool)
    rare = out.any(dim=1).nonzero().squeeze(1)
    if len(rare):
        items[rare], keep[rare] = _draw_by_rank(excluded.candidates(rare), count, generator)
    return rows[keep].repeat_interleave(count), items[keep].flatten()


class _Excluded:
    """The items of each row that are no candidates, without a matrix of all."""

    def __init__(self, n_items: int, row: Tensor, item: Tensor) -> None:
        self._n_items = n_items
        self._keys = (row * n_items + item).cpu().unique()
        self._ends = torch.cat((self._keys, self._keys.new_tensor([-1])))  # found by no draw

    def among(self, rows: Tensor, items: Tensor) -> Tensor:
        """Tell which of the items ``[rows, count]`` are excluded from their rows."""
        drawn = rows.unsqueeze(1) * self._n_items + items
        return self._ends[torch.searchsorted(self._keys, drawn)] == drawn

    def candidates(self, rows: Tensor) -> Tensor:
        """Mark the candidates of a few rows, ``[rows, n_items]``."""
        found = torch.ones((len(rows), self._n_items), dtype=torch.bool)
        found[:, 0] = False
        owner = torch.searchsorted(rows, self._keys // self._n_items).clamp(max=len(rows) - 1)
        own = rows[owner] == self._keys // self._n_items
        found[owner[own], self._keys[own] % self._n_items] = False
        return found


def _draw_by_rank(
    candidate: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw where candidates are rare; tell which rows have any."""
    rank_of = candidate.cumsum(dim=1)
    total = rank_of[:, -1:]
    draw = torch.rand((len(candidate), count), generator=generator, dtype=torch.float64)
    rank = (draw * total).long() + 1
    items = torch.searchsorted(rank_of, rank).clamp(max=candidate.shape[1] - 1)
    return items, total.squeeze(1) > 0
