"""RecBole's collector, without sorting or copying the scores of all items."""

from __future__ import annotations

from typing import Any

import torch
from recbole.evaluator import Collector
from torch import Tensor

#: What is collected here of RecBole's tables: best items, hits among them, ranks of positives.
_RANKS = ("rec.items", "rec.topk", "rec.meanrank")
#: Scores that are compared at a time, which a processor's cache holds.
_PART = 2**18
#: Whole numbers below this are sums in float32 without rounding.
_EXACT = 2**24


class _Rest:
    """What metrics need beside ranks.

    Args:
        register: RecBole's, which says what they need.
    """

    def __init__(self, register: Any) -> None:
        self._register = register

    def need(self, key: str) -> bool:
        """Tell whether a metric needs something that is collected by RecBole."""
        return key not in _RANKS and bool(self._register.need(key))


class RankCollector(Collector):  # type: ignore[misc,unused-ignore]
    """Collects the same numbers as RecBole's collector, from one look at the scores.

    RecBole marks the positives in matrices of the scores' size and sorts all scores for the mean
    rank of the positives (GAUC). Here the best items are asked whether they are positives, and the
    rank of a positive is counted: how many candidates score higher, and how many the same.
    Scores that are not numbers have no rank; those are left to RecBole.

    Args:
        config: RecBole's ``Config`` or ours.
    """

    register: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._all: Any = self.register
        self._rest = _Rest(self._all)
        self._needs = {key for key in _RANKS if self._all.need(key)}

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Take in a batch of rankings.

        Args:
            scores_tensor: Scores of each query's items, ``[Q, n_items]``; minus infinity for no
                candidate.
            interaction: The batch.
            positive_u: Query of each positive, ``[P]``.
            positive_i: Item of each positive, ``[P]``.
        """
        ranked = bool(self._needs) and not scores_tensor.amax().isnan()
        if ranked:
            self._collect_ranks(scores_tensor, positive_u, positive_i)
        self.register = self._rest if ranked else self._all
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)

    def _collect_ranks(self, scores: Tensor, query: Tensor, item: Tensor) -> None:
        queries, items = scores.shape
        positives = (query * items + item).to(scores.device).unique()
        query, item = positives // items, positives % items
        count = query.bincount(minlength=queries).unsqueeze(1)
        if self._needs - {"rec.meanrank"}:
            best = scores.topk(max(self.topk), dim=-1).indices
            if "rec.items" in self._needs:
                self.data_struct.update_tensor("rec.items", best)
            if "rec.topk" in self._needs:
                rows = torch.arange(queries, device=best.device).unsqueeze(1)
                hits = torch.isin(best + rows * items, positives, assume_unique=True)
                self.data_struct.update_tensor("rec.topk", torch.cat((hits, count), dim=1))
        if "rec.meanrank" in self._needs:
            ranks, candidates = mean_ranks(scores, query, item)
            total = torch.zeros(queries, dtype=torch.double, device=scores.device)
            total.index_add_(0, query, ranks)
            columns = (total.unsqueeze(1), candidates.unsqueeze(1), count)
            table = torch.cat([column.to(scores.dtype) for column in columns], dim=1)
            self.data_struct.update_tensor("rec.meanrank", table)


def mean_ranks(scores: Tensor, query: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    r"""Count the rank of each positive, from 1, and the candidates of each query.

    :math:`(2 g + e + 1) / 2`, with g the scores of the query that are greater and e those that are
    equal, the positive's own among them. A query's candidates are the items above its least score,
    which is minus infinity.

    Args:
        scores: Scores of each query's items, ``[Q, n_items]``, no NaN.
        query: Query of each positive, ``[P]``, ascending.
        item: Item of each positive, ``[P]``.

    Returns:
        Ranks ``[P]``, float64, and candidates ``[Q]``.
    """
    queries, items = scores.shape
    kind = torch.float if items < _EXACT else torch.double
    part = max(_PART // items, 1)
    # One room each, made once: what comes and goes beside smaller things leaves holes in memory.
    above = torch.empty((part, items), dtype=kind, device=scores.device)
    picked = scores.new_empty((part, items))

    def count(compare: Any, these: Tensor, bound: Tensor) -> Tensor:
        found: Tensor = compare(these, bound.unsqueeze(1), out=above[: len(these)])
        return found.sum(dim=1).double()

    starts = torch.arange(0, queries + part, part, device=query.device)
    edges = torch.searchsorted(query, starts).tolist()
    ranks = scores.new_empty(len(query), dtype=torch.double)
    candidates = scores.new_empty(queries, dtype=torch.double)
    for number, rows in enumerate(scores.split(part)):
        start = number * part
        candidates[start : start + part] = count(torch.gt, rows, rows.amin(dim=1))
        for first in range(edges[number], edges[number + 1], part):
            these = slice(first, min(first + part, edges[number + 1]))
            within = query[these] - start
            own = rows[within, item[these]]
            each = torch.index_select(rows, 0, within, out=picked[: len(within)])
            doubled = count(torch.gt, each, own) + count(torch.ge, each, own)
            ranks[these] = (doubled + 1) / 2
    return ranks, candidates.long()
