"""Loaders that rank all items for each window."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from torch import Tensor

from recbole_atjt.data.dataset import ContextWindowDataset, WindowedDataset
from recbole_atjt.data.windows import Windows
from recbole_atjt.errors import UsageError


def ranking_loader(config: Any, part: Any, loader: type[Any]) -> type[Any]:
    """Choose the loader of a validation or test set.

    Args:
        config: RecBole's configuration.
        part: The validation or test set.
        loader: The class that RecBole would take.

    Raises:
        UsageError: ``exclude_seen`` where seen items are not known or not ranked.
    """
    if not len(part):
        return WindowSortDataLoader
    ranks_all = issubclass(loader, FullSortEvalDataLoader)
    of_windows = isinstance(part, WindowedDataset)
    if config["exclude_seen"] and of_windows:
        if not ranks_all or not isinstance(part.inter_feat, Windows):
            raise UsageError(
                "exclude_seen=True goes with eval_args mode 'full' and with histories that are "
                "made here, not with sampled candidates or files of ready lists"
            )
        return UnseenWindowSortDataLoader
    ranks_context = ranks_all and isinstance(part, ContextWindowDataset)
    return WindowSortDataLoader if ranks_context else loader


class WindowSortDataLoader(FullSortEvalDataLoader):
    """Full ranking: each window is a query, ranked against all items.

    For context-aware models a batch holds as many windows as ``eval_batch_size`` holds full
    rankings.
    """

    @property
    def is_sequential(self) -> bool:
        """Queries are windows, not users."""
        return True

    @is_sequential.setter
    def is_sequential(self, value: bool) -> None:
        """Ignore RecBole's guess from the model's type."""

    def _init_batch_size_and_step(self) -> None:
        if not isinstance(self._dataset, ContextWindowDataset):
            super()._init_batch_size_and_step()
            return
        items = self._dataset.item_num
        self.step = max(self.config["eval_batch_size"] // items, 1)
        self.set_batch_size(self.step * items)


class UnseenWindowSortDataLoader(WindowSortDataLoader):
    """Full ranking of the items that a window's user had not met before its target.

    All earlier interactions count, not only those inside the history (AutoDenoise, 3.1). A target
    that the user meets again stays a candidate.
    """

    def collate_fn(self, index: Any) -> tuple[Any, tuple[Tensor, Tensor], Tensor, Tensor]:
        """Return RecBole's batch, and query and item of what is not ranked."""
        interaction, _, positive_u, positive_i = super().collate_fn(index)
        query, item = self._seen(np.asarray(index))
        unranked = item != positive_i[query]
        return interaction, (query[unranked], item[unranked]), positive_u, positive_i

    def _seen(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return query and item of each earlier interaction, ``[n]`` each."""
        columns = self._dataset.inter_feat.interaction
        base = columns.base.columns
        user, target = base[self.uid_field][:-1], columns.target[index].long()
        first = torch.searchsorted(user, user[target])
        count = target - first
        query = torch.arange(len(target)).repeat_interleave(count)
        within = torch.arange(len(query)) - (count.cumsum(0) - count)[query]
        return query, base[self.iid_field][first[query] + within]
