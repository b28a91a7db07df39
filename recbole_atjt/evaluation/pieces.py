"""Batches of an evaluation in pieces, so that the scores of all items fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import EvaluatorType

from recbole_atjt.errors import UsageError
from recbole_atjt.evaluation.remaining import Batch

KEY = "eval_scores_mib"
DEFAULT_MIB = 1024
_SCORE_BYTES = 4


def require_limit(config: Any) -> int:
    """Return the bytes that the scores of all items may take.

    Args:
        config: RecBole's config or ours.

    Raises:
        UsageError: ``eval_scores_mib`` is no whole number of at least 1.
    """
    limit = DEFAULT_MIB if config[KEY] is None else config[KEY]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise UsageError(f"{KEY}={limit} is not a whole number of at least 1")
    return limit * 2**20


class Pieces:
    """Walks through a loader's batches, the large ones in pieces.

    Args:
        loader: RecBole's loader of a validation or test set, or a view of one.
        queries: The most queries of a piece.
        begin: Called with each batch before its pieces.
        done: Called after each piece.
    """

    def __init__(
        self,
        loader: Any,
        queries: int,
        begin: Callable[[Batch], None],
        done: Callable[[], None],
    ) -> None:
        self._loader, self._queries, self._begin, self._done = loader, queries, begin, done
        self._dataset = loader._dataset

    def __len__(self) -> int:
        return len(self._loader)

    def __bool__(self) -> bool:
        return bool(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            self._begin(batch)
            for piece in pieces_of(batch, self._queries):
                yield piece
                self._done()


class PiecesOfRankings(Pieces, FullSortEvalDataLoader):  # type: ignore[misc,unused-ignore]
    """The same for full ranking, which RecBole's trainer tells by the loader's class."""


def in_pieces(
    loader: Any,
    config: Any,
    begin: Callable[[Batch], None] = lambda batch: None,
    done: Callable[[], None] = lambda: None,
) -> Any:
    """Return a view of an evaluation's loader whose batches score no more than memory is to hold.

    Args:
        loader: The loader, or a view of one.
        config: RecBole's config or ours.
        begin: Called with each batch of the loader before its pieces.
        done: Called after each piece, when its scores are no longer needed.
    """
    if not loader or config["eval_type"] != EvaluatorType.RANKING:
        return loader
    full = isinstance(loader, FullSortEvalDataLoader)
    queries = max(require_limit(config) // (_SCORE_BYTES * loader._dataset.item_num), 1)
    return (PiecesOfRankings if full else Pieces)(loader, queries, begin, done)


def pieces_of(batch: Batch, most: int) -> Iterator[Batch]:
    """Yield a batch in pieces of at most ``most`` queries, in their order; a small one as it is."""
    interaction, extra, positive_u, positive_i = batch
    of_candidates = torch.is_tensor(extra)
    queries = int(positive_u[-1]) + 1 if of_candidates else len(interaction)
    if positive_u is None or queries <= most:
        yield batch
        return
    for first in range(0, queries, most):
        own = _within(positive_u, first, most)
        positives = positive_u[own] - first, positive_i[own]
        if of_candidates:
            rows = _within(extra, first, most)
            yield (interaction[rows], extra[rows] - first, *positives)
            continue
        unranked = None
        if extra is not None:
            rows = _within(extra[0], first, most)
            unranked = extra[0][rows] - first, extra[1][rows]
        yield (interaction[first : first + most], unranked, *positives)


def _within(query: Any, first: int, most: int) -> Any:
    return ((query >= first) & (query < first + most)).nonzero().squeeze(1)
