"""Validation that leaves out the positives with the largest losses (`erm_revised`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any, Protocol

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from torch import Tensor, nn

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.evaluation.pieces import in_pieces
from recbole_atjt.evaluation.positive_losses import (
    find_head,
    largest,
    pointwise_losses,
    query_losses,
)
from recbole_atjt.evaluation.remaining import Batch, labelled_positives, remaining
from recbole_atjt.randomness import capture_rng, restore_rng

DROP_KEY = "revised_validation_drop"
DEFAULT_DROP = 0.2


def dropped_share(config: Any) -> float | None:
    """Return the share of validation positives to drop; None where validation is plain.

    Args:
        config: RecBole's config, or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: ``revised_validation`` or ``revised_validation_drop`` has a value of the wrong
            type or out of range, or the former is off under ``weighting=erm_revised``.
    """
    keys = [key for key in ("weighting", "revised_validation", DROP_KEY) if key in config]
    given = {key: config[key] for key in keys if config[key] is not None}
    asked = given.get("weighting") == "erm_revised"
    switch, share = given.get("revised_validation", asked), given.get(DROP_KEY, DEFAULT_DROP)
    if not isinstance(switch, bool):
        raise UsageError(f"revised_validation={switch} is not True or False")
    if not isinstance(share, (int, float)) or isinstance(share, bool):
        raise UsageError(f"{DROP_KEY}={share} is not a number")
    if not 0 < share < 1:
        raise UsageError(f"{DROP_KEY}={share} is out of range: it must be inside (0, 1)")
    if asked and not switch:
        raise UsageError(
            "revised_validation=False does not go with weighting=erm_revised, which is plain "
            "training with it: use weighting=none"
        )
    return float(share) if switch else None


class Scorer(Protocol):
    """What scores the batches of an evaluation: RecBole's trainer, or ours."""

    def rank(self, batch: Batch) -> Tensor:
        """Return the scores of each query's items, ``[Q, n_items]``."""

    def score(self, batch: Batch) -> Tensor:
        """Return the score of each row of a batch of candidates, ``[rows]``."""


class RevisedValidation:
    """Validation without the positives of the largest losses.

    Each validation scores the validation set twice: first for the losses of all its positives under
    the current model, then for the metrics of those that stay. All randomness is left as plain
    validation leaves it, and both passes see the same sampled candidates.

    Args:
        config: RecBole's Config or ours.
        model: The model, or a wrapper that holds it as ``recommender``.
        share: Share of the positives to drop, in (0, 1).
    """

    def __init__(self, config: Any, model: nn.Module, share: float) -> None:
        self._config, self._model, self._share = config, model, share
        self._says_dropped = True

    @classmethod
    def of(cls, config: Any, model: nn.Module) -> RevisedValidation | None:
        """Return it where ``config['revised_validation']`` asks for it, else None.

        Raises:
            UsageError: See :func:`dropped_share`.
        """
        share = dropped_share(config)
        return None if share is None else cls(config, model, share)

    @contextmanager
    def remaining(self, valid_data: Any, scorer: Scorer) -> Iterator[Any]:
        """Yield a view of a validation loader without the positives of the largest losses.

        Args:
            valid_data: RecBole's loader.
            scorer: Scores batches by the current model.
        """
        generators = {"loader": valid_data.generator}
        before = capture_rng(generators)
        dropped = largest(self._losses(valid_data, scorer), self._share)
        after = capture_rng(generators)
        self._say_dropped(dropped)
        restore_rng(before, generators)
        try:
            yield remaining(valid_data, dropped)
        finally:
            restore_rng(after, generators)

    def _say_dropped(self, dropped: Tensor) -> None:
        """Say once how many positives are dropped."""
        if not self._says_dropped:
            return
        self._says_dropped = False
        count, total = int(dropped.sum()), len(dropped)
        if count:
            getLogger().info(
                f"revised validation: each validation drops {count} of {total} positives"
            )
        else:
            getLogger().warning(
                f"{DROP_KEY}={self._share} drops nothing: there are only {total} validation "
                "positives"
            )

    @torch.no_grad()
    def _losses(self, valid_data: Any, scorer: Scorer) -> Tensor:
        """Return the losses of all positives, in the loader's order, ``[n]``."""
        self._model.eval()
        pieces = in_pieces(valid_data, self._config)
        if isinstance(valid_data, FullSortEvalDataLoader):
            found = [self._of_ranking(batch, scorer.rank(batch)) for batch in pieces]
        else:
            items = valid_data._dataset.item_num
            found = [self._of_candidates(batch, scorer.score(batch), items) for batch in pieces]
        losses = torch.cat([loss.cpu() for loss in found])
        if losses.isnan().any():
            raise TrainingError(
                f"{self._config['model']} gives scores that are not numbers (NaN); "
                "try a smaller learning_rate or clip_grad_norm"
            )
        return losses

    def _of_ranking(self, batch: Batch, scores: Tensor) -> Tensor:
        _, _, positive_u, positive_i = batch
        return query_losses(find_head(self._model, True), scores, positive_u, positive_i)

    def _of_candidates(self, batch: Batch, predicted: Tensor, items: int) -> Tensor:
        interaction, query, positive_u, positive_i = batch
        head = find_head(self._model, False)
        if query is None:
            rows = labelled_positives(interaction, self._config["LABEL_FIELD"])
            return pointwise_losses(head, predicted[rows])
        queries = int(positive_u[-1]) + 1
        scores = torch.full((queries, items), -torch.inf, device=predicted.device)
        scores[query, interaction[self._config["ITEM_ID_FIELD"]]] = predicted
        return query_losses(head, scores, positive_u, positive_i)
