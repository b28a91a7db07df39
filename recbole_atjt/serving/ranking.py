"""The k best items of each query, a few queries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.errors import TrainingError
from recbole_atjt.serving.inputs import InputMaker
from recbole_atjt.serving.scorers import Scorer

#: Scores that are held at once: what a chunk of queries has of all items.
SCORES = 2**21
#: Rows of user and item that are scored at once.
ROWS = 2**14


@dataclass(frozen=True)
class Encoded:
    """A query in numbers.

    Args:
        user: Number of the user, 0 where nobody is named.
        history: Items, the oldest first.
        seen: Items that are not recommended.
    """

    user: int
    history: np.ndarray
    seen: np.ndarray


def rank(
    scorer: Scorer, maker: InputMaker, n_items: int, queries: Sequence[Encoded], k: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the best items of each query, ``[k]`` or fewer, and their scores.

    The padding item and what was seen are left out. Memory grows with :data:`SCORES`, not with
    queries x items.

    Args:
        scorer: Gives the scores.
        maker: Makes what it reads.
        n_items: Number of items, the padding included.
        queries: The queries.
        k: Most items of a query.

    Raises:
        TrainingError: The model gives scores that are not numbers.
    """
    at_once = max(1, SCORES // n_items)
    for start in range(0, len(queries), at_once):
        chunk = queries[start : start + at_once]
        scores = _scores(scorer, maker, n_items, chunk)
        if scores.isnan().any():
            raise TrainingError("the model gives scores that are not numbers")
        scores[:, 0] = -torch.inf
        for row, query in enumerate(chunk):
            if len(query.seen):
                scores[row, torch.from_numpy(query.seen).long()] = -torch.inf
        best, items = scores.topk(min(k, n_items - 1), dim=1)
        counts = (best > -torch.inf).sum(dim=1).tolist()
        yield from ((items[row, :count], best[row, :count]) for row, count in enumerate(counts))


def arrays_of(queries: Sequence[Encoded], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return users ``[B]``, histories ``[B, L]`` of their last items and lengths ``[B]``."""
    histories = np.zeros((len(queries), length), dtype=np.int64)
    lengths = np.zeros(len(queries), dtype=np.int64)
    for row, query in enumerate(queries):
        last = query.history[-length:]
        histories[row, : len(last)], lengths[row] = last, len(last)
    users = torch.tensor([query.user for query in queries])
    return users, torch.from_numpy(histories), torch.from_numpy(lengths)


def _scores(scorer: Scorer, maker: InputMaker, n_items: int, chunk: Sequence[Encoded]) -> Tensor:
    """Return the scores of all items, ``[B, n_items]``, as a tensor that may be changed."""
    users, histories, lengths = arrays_of(chunk, scorer.signature.history)
    if scorer.signature.scores_all:
        return scorer(maker.of_queries(users, histories, lengths)).clone()
    scores = torch.empty(len(chunk), n_items)
    at_once = max(1, ROWS // n_items)  # queries whose items are scored in one go
    items = torch.arange(n_items)
    for start in range(0, len(chunk), at_once):
        rows = slice(start, start + at_once)
        for some in items.split(ROWS):
            batch = maker.of_pairs(users[rows], histories[rows], lengths[rows], some)
            found = scorer(batch).view(-1, len(some))
            scores[rows, some[0] : some[-1] + 1] = found
    return scores
