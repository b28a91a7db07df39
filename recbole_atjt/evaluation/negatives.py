"""Sampled negatives of a query, for value metrics."""

from __future__ import annotations

import torch
from torch import Tensor

_REDRAWS = 8


def sample_negatives(
    scores: Tensor, positive_u: Tensor, positive_i: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` items for each row uniformly, with replacement, from its candidates.

    Candidates are the items 1 to n - 1 (0 is padding) whose score is not minus infinity and that
    are no positives of the row. Draws depend on the generator and on which items are candidates,
    not on the scores.

    Args:
        scores: [rows, n] scores; minus infinity marks items that are excluded.
        positive_u: [P] row of each positive.
        positive_i: [P] item of each positive.
        count: Items drawn for each row.
        generator: A generator on the CPU, so that every device draws alike.

    Returns:
        Rows and items of the draws, each [rows * count]; rows without a candidate have none.
    """
    device = scores.device
    allowed_positive = scores[positive_u, positive_i]
    scores[positive_u, positive_i] = -torch.inf
    try:
        shape = (scores.shape[0], count)
        items = torch.randint(1, scores.shape[1], shape, generator=generator).to(device)
        for _ in range(_REDRAWS):
            excluded = scores.gather(1, items) == -torch.inf
            missing = int(excluded.sum())
            if not missing:
                break
            redrawn = torch.randint(1, scores.shape[1], (missing,), generator=generator)
            items[excluded] = redrawn.to(device)
        keep = _draw_where_candidates_are_rare(scores, items, generator)
    finally:
        scores[positive_u, positive_i] = allowed_positive
    rows = torch.arange(shape[0], device=device)
    return rows[keep].repeat_interleave(count), items[keep].flatten()


def _draw_where_candidates_are_rare(
    scores: Tensor, items: Tensor, generator: torch.Generator
) -> Tensor:
    """Redraw rows that still hold an excluded item by rank; tell which rows have candidates."""
    keep = torch.ones(len(items), dtype=torch.bool, device=items.device)
    rows = (scores.gather(1, items) == -torch.inf).any(dim=1).nonzero().squeeze(1)
    if len(rows):
        candidate = scores[rows] != -torch.inf
        candidate[:, 0] = False
        rank_of = candidate.cumsum(dim=1)
        total = rank_of[:, -1:]
        keep[rows] = total.squeeze(1) > 0
        draw = torch.rand((len(rows), items.shape[1]), generator=generator, dtype=torch.float64)
        rank = (draw.to(items.device) * total).long() + 1
        items[rows] = torch.searchsorted(rank_of, rank).clamp(max=scores.shape[1] - 1)
    return keep
