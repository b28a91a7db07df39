"""RecBole's Trainer as far as it evaluates: value metrics, revised validation, safe checkpoints."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer import Trainer
from torch import Tensor, nn

from recbole_atjt.checkpoint.file import Checkpoint, load_checkpoint, well_formed
from recbole_atjt.checkpoint.model import load_model
from recbole_atjt.checkpoint.settings import refuse_other_evaluation
from recbole_atjt.evaluation.pieces import in_pieces, require_limit
from recbole_atjt.evaluation.ranks import RankCollector
from recbole_atjt.evaluation.revised import RevisedValidation
from recbole_atjt.evaluation.shared import EvaluatorOfAll, own_batches
from recbole_atjt.evaluation.values import ValueMetrics
from recbole_atjt.parallel.group import copy_of
from recbole_atjt.training.masking import put_mask
from recbole_atjt.training.recommender import DenoisingRecommender


class EvaluatingTrainer(Trainer):  # type: ignore[misc,unused-ignore]
    """Evaluates as RecBole does, with value metrics beside its own, and scores batches.

    Value metrics and the revised validation are parts that it asks where RecBole's verbs come by.

    Args:
        config: RecBole's ``Config`` or ours.
        model: A :class:`DenoisingRecommender`, or any RecBole model.
    """

    saved_model_file: str
    item_tensor: Any
    evaluator: Any

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        # RecBole's name has the second in it, which two trainers may share.
        stem = self.saved_model_file[: -len(".pth")]
        self.saved_model_file = f"{stem}-{secrets.token_hex(4)}.safetensors"
        require_limit(config)
        self.eval_collector = RankCollector(config)
        self.evaluator = EvaluatorOfAll(self.evaluator)
        self._scores: Callable[[], Tensor | None] = lambda: None
        self._values = ValueMetrics(config, model)
        self._revised = RevisedValidation.of(config, model)

    @property
    def weighting(self) -> Any:
        """The model's strategy; None for plain training."""
        return self.model.weighting if isinstance(self.model, DenoisingRecommender) else None

    @property
    def bare_model(self) -> Any:
        """The RecBole model itself, without the wrapper."""
        return self.model.recommender if self.weighting is not None else self.model

    def _load_best(self, path: str, dataset: Any) -> None:
        with copy_of(path) as copy:
            loaded = load_checkpoint(copy, device=self.device)
        with well_formed(path):
            self._refuse_unfinished(path, loaded)
            stored = loaded.meta.get("config")
            if isinstance(stored, dict):
                for line in refuse_other_evaluation(path, stored, self.config):
                    self.logger.warning(line)
        load_model(self.bare_model, loaded)
        with well_formed(path):
            put_mask(dataset, loaded.meta.get("history_mask"), path)
        self.logger.info(f"Loading model structure and parameters from {path}")

    def _refuse_unfinished(self, path: str, loaded: Checkpoint) -> None:
        """Refuse a checkpoint that is none to evaluate yet; without stages there is none."""

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does, and add the value metrics to its result.

        Of several processes each scores some batches; the metrics are of all samples. A batch
        whose scores would take more than ``eval_scores_mib`` is scored in pieces. The best model
        comes from a checkpoint without pickle.

        Raises:
            UsageError: Ranking metrics on labelled data, which offers no candidates to rank.
            TrainingError: The model gives scores that are not numbers.
        """
        if eval_data and load_best_model:
            self._load_best(model_file or self.saved_model_file, eval_data._dataset)
        self._values.start(eval_data._dataset.item_num if eval_data else 0)
        own = own_batches(eval_data, self._values.pass_over)
        pieces = in_pieces(own, self.config, self._values.begin, self._let_go)
        result = super().evaluate(pieces, load_best_model=False, show_progress=show_progress)
        if result is not None and self._values.metrics:
            values = self._values.results()
            self.wandblogger.log_eval_metrics(values, head="eval")
            result.update(values)
        return result

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        found = super()._full_sort_batch_eval(batched_data)
        self._scores = weakref.ref(found[1])
        self._values.collect_ranking(found[1], batched_data)
        return found

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        with self._values.collecting_candidates(batched_data):
            found = super()._neg_sample_batch_eval(batched_data)
        self._scores = weakref.ref(found[1])
        return found

    def _let_go(self) -> None:
        """Free the scores of a piece, which RecBole's loop holds until it has the next ones."""
        scores = self._scores()
        for each in () if scores is None else (scores._base, scores):
            if each is not None:
                each.set_()  # type: ignore[call-overload,unused-ignore]

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        if self._revised is None:
            return super()._valid_epoch(valid_data, show_progress)
        self._know_items(valid_data)
        with self._revised.remaining(valid_data, self) as rest:
            return super()._valid_epoch(rest, show_progress)

    def _know_items(self, eval_data: Any) -> None:
        """Set what RecBole's ``evaluate`` sets before it scores a batch."""
        self.tot_item_num = eval_data._dataset.item_num
        if self.item_tensor is None and isinstance(eval_data, FullSortEvalDataLoader):
            self.item_tensor = eval_data._dataset.get_item_feature().to(self.device)

    def rank(self, batch: Any) -> Tensor:
        """Return the scores of all items of a batch of rankings, ``[Q, n_items]``."""
        scores: Tensor = super()._full_sort_batch_eval(batch)[1]
        return scores

    def score(self, batch: Any) -> Tensor:
        """Return the score of each row of a batch of candidates, ``[rows]``."""
        interaction = batch[0]
        scores: Tensor = self._spilt_predict(interaction, len(interaction)).flatten()
        return scores
