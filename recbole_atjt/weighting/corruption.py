"""Replaced sequences: what the recogniser learns to tell from the originals (ATJT, 3.1, 3.3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_atjt.errors import UsageError

REPLACEMENTS = ("history", "target", "both")
SOURCES = ("uniform", "popularity")


@dataclass(frozen=True)
class Corruption:
    """How sequences are corrupted.

    Args:
        popularity: Frequency of each item in training, ``[n_items]``; entry 0 is the padding.
        replace: ``history`` (the paper: items of the history), ``target``, or ``both`` (each
            corrupted sequence has either its history or its target replaced, with equal chance).
        source: Replacements are drawn ``uniform`` over all other items (the paper) or by
            ``popularity``, so that a popular target alone does not look original.
        count: Replaced items of a history; cut to its length.
        share: Share of a batch that is corrupted, in (0, 1]; at least one sequence is.
    """

    popularity: Tensor
    replace: str = "history"
    source: str = "uniform"
    count: int = 1
    share: float = 0.5

    def __post_init__(self) -> None:
        if len(self.popularity) < 3:
            raise UsageError("an item can only be replaced where there are at least 2 items")

    def corrupt(
        self, history: Tensor, target: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt a share of a batch.

        Padding is never replaced, nothing is replaced by padding or by itself.

        Args:
            history: Item ids, left-aligned, 0 where padded, ``[B, L]``.
            target: Item ids, ``[B]``.
            generator: Source of randomness on the tensors' device.

        Returns:
            New history ``[B, L]``, new target ``[B]``, label ``[B]`` (1 original, 0 replaced).
        """
        size, device = len(target), target.device
        replaced = max(1, round(self.share * size))
        rows = torch.randperm(size, generator=generator, device=device)[:replaced]
        label = torch.ones(size, device=device)
        label[rows] = 0.0
        in_target = torch.full((replaced,), self.replace == "target", device=device)
        if self.replace == "both":
            in_target = torch.rand(replaced, generator=generator, device=device) < 0.5
        history, target = history.clone(), target.clone()
        target_rows, history_rows = rows[in_target], rows[~in_target]
        target[target_rows] = self.draw(target[target_rows], generator)
        row, column = self._positions(history[history_rows], generator)
        label[history_rows] = 1.0  # a history of padding alone stays as it is
        row = history_rows[row]
        label[row] = 0.0
        history[row, column] = self.draw(history[row, column], generator)
        return history, target, label

    def _positions(
        self, history: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Choose up to ``count`` distinct real positions of each row: row and column indices."""
        length = (history != 0).sum(dim=1)
        device = history.device
        if self.count == 1:
            chance = torch.rand(len(history), generator=generator, device=device)
            column = (chance * length).long().minimum(length - 1)
            row = torch.arange(len(history), device=device)
            return row[length > 0], column[length > 0]
        keys = torch.rand(history.shape, generator=generator, device=device)
        keys = keys.masked_fill(history == 0, -1.0)
        chosen, column = keys.topk(min(self.count, history.shape[1]), dim=1)
        row, rank = (chosen >= 0).nonzero(as_tuple=True)
        return row, column[row, rank]

    def draw(self, original: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw another item for each of ``original [n]``; never the padding, never the same."""
        if self.source == "uniform":
            n_items = len(self.popularity)
            other = torch.randint(
                1, n_items - 1, original.shape, generator=generator, device=original.device
            )
            return other + (other >= original)
        return self._draw_popular(original, generator)

    def _draw_popular(self, original: Tensor, generator: torch.Generator | None) -> Tensor:
        """Invert the cumulative frequencies with the original item's share cut out."""
        frequency = self.popularity.to(original.device, torch.float64).clone()
        frequency[0] = 0.0
        frequency[1:] += 1e-9 * frequency.sum().clamp(min=1.0)
        above = frequency.cumsum(0)
        own = frequency[original]
        chance = torch.rand(
            original.shape, generator=generator, device=original.device, dtype=torch.float64
        )
        point = chance * (above[-1] - own)
        point = point + own * (point >= above[original] - own)
        drawn = torch.searchsorted(above, point, right=True).clamp(1, len(frequency) - 1)
        clash = drawn == original
        shifted = torch.where(drawn < len(frequency) - 1, drawn + 1, drawn - 1)
        return torch.where(clash, shifted, drawn)
