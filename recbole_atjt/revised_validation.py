"""Validation that leaves out the positives with the largest losses (`erm_revised`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer import Trainer
from torch import Tensor, nn

from recbole_atjt.checkpoint import capture_rng, restore_rng
from recbole_atjt.data.remaining import Batch, labelled_positives, remaining
from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.positive_losses import find_head, largest, pointwise_losses, query_losses

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


class RevisedValidation(Trainer):  # type: ignore[misc,unused-ignore]
    """RecBole trainer whose validation while training drops the positives with the largest losses.

    With ``config['revised_validation']`` each validation scores the validation set twice: first for
    the losses of all its positives under the current model, then for the metrics of those that
    stay. All randomness is left as plain validation leaves it, and both passes see the same sampled
    candidates. ``evaluate`` is RecBole's. Put it after :class:`JointEvaluation` in the bases.

    Args:
        config: RecBole's Config or ours.
        model: The model, or a wrapper that holds it as ``recommender``.

    Raises:
        UsageError: See :func:`dropped_share`.
    """

    item_tensor: Any
    tot_item_num: int

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        self._dropped_share = dropped_share(config)
        self._says_dropped = True

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        if self._dropped_share is None:
            return super()._valid_epoch(valid_data, show_progress)
        generators = {"loader": valid_data.generator}
        before = capture_rng(generators)
        dropped = largest(self._validation_losses(valid_data), self._dropped_share)
        after = capture_rng(generators)
        self._say_dropped(dropped)
        restore_rng(before, generators)
        try:
            return super()._valid_epoch(remaining(valid_data, dropped), show_progress)
        finally:
            restore_rng(after, generators)

    def _say_dropped(self, dropped: Tensor) -> None:
        """Say once how many positives are dropped."""
        if not self._says_dropped:
            return
        self._says_dropped = False
        count, total = int(dropped.sum()), len(dropped)
        if count:
            self.logger.info(
                f"revised validation: each validation drops {count} of {total} positives"
            )
        else:
            self.logger.warning(
                f"{DROP_KEY}={self._dropped_share} drops nothing: there are only "
                f"{total} validation positives"
            )

    @torch.no_grad()
    def _validation_losses(self, valid_data: Any) -> Tensor:
        """Return the losses of all positives, in the loader's order, ``[n]``."""
        self.model.eval()
        self.tot_item_num = valid_data._dataset.item_num
        losses_of: Callable[[Batch], Tensor] = self._candidates_losses
        if isinstance(valid_data, FullSortEvalDataLoader):
            losses_of = self._ranking_losses
            if self.item_tensor is None:
                self.item_tensor = valid_data._dataset.get_item_feature().to(self.device)
        losses = torch.cat([losses_of(batch).cpu() for batch in valid_data])
        if losses.isnan().any():
            raise TrainingError(
                f"{self.config['model']} gives scores that are not numbers (NaN); "
                "try a smaller learning_rate or clip_grad_norm"
            )
        return losses

    def _ranking_losses(self, batch: Batch) -> Tensor:
        _, scores, positive_u, positive_i = super()._full_sort_batch_eval(batch)
        return query_losses(find_head(self.model, True), scores, positive_u, positive_i)

    def _candidates_losses(self, batch: Batch) -> Tensor:
        interaction, query, positive_u, positive_i = batch
        head = find_head(self.model, False)
        predicted = self._spilt_predict(interaction, len(interaction)).flatten()
        if query is None:
            rows = labelled_positives(interaction, self.config["LABEL_FIELD"])
            return pointwise_losses(head, predicted[rows])
        queries = int(positive_u[-1]) + 1
        scores = torch.full((queries, self.tot_item_num), -torch.inf, device=self.device)
        scores[query, interaction[self.config["ITEM_ID_FIELD"]]] = predicted
        return query_losses(head, scores, positive_u, positive_i)
