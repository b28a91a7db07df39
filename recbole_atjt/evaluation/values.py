"""Value metrics (AUC, LogLoss, MAE, RMSE) beside RecBole's ranking metrics in one evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.evaluator import Collector, Evaluator
from recbole.utils import EvaluatorType
from torch import Tensor, nn

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.evaluation.naming import metric_names, split_metrics
from recbole_atjt.evaluation.negatives import sample_negatives
from recbole_atjt.evaluation.shared import of_all
from recbole_atjt.host.traits import gives_probabilities
from recbole_atjt.seam.substitution import substituted

DEFAULT_VALUE_NEGATIVES = 100

RANK_METRICS = frozenset({"auc"})
"""Value metrics that read the order of the scores only; all others read probabilities."""


@contextmanager
def recorded_predictions(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what ``model.predict`` returns inside the block, in the order of the calls.

    RecBole scatters these into a matrix with one row for each user, where the predictions for two
    histories of one user overwrite each other.
    """
    predictions: list[Tensor] = []
    predict: Any = model.predict

    def record(interaction: Any) -> Any:
        scores = predict(interaction)
        predictions.append(scores.reshape(-1))
        return scores

    with substituted(model, "predict", record):
        yield predictions


class _Batch:
    """What value metrics see of a batch of full rankings: positives, then negatives.

    Args:
        queries: Number of queries.
        row: Query of each negative, ascending.
        item: Each negative.
    """

    def __init__(self, queries: int, row: Tensor, item: Tensor) -> None:
        self._queries, self._row, self._item = queries, row, item
        self._positive: list[Tensor] = []
        self._negative: list[Tensor] = []
        self._seen = 0

    def take(self, scores: Tensor, positive_u: Tensor, positive_i: Tensor) -> bool:
        """Take the scores of the next queries, ``[Q, n_items]``; tell whether all are there."""
        self._positive.append(scores[positive_u, positive_i])
        edges = torch.tensor([self._seen, self._seen + len(scores)])
        own = slice(*torch.searchsorted(self._row, edges).tolist())
        self._negative.append(scores[self._row[own] - self._seen, self._item[own]])
        self._seen += len(scores)
        return self._seen >= self._queries

    def scores(self) -> tuple[Tensor, Tensor]:
        """Return the scores of all positives and of all negatives."""
        return torch.cat(self._positive), torch.cat(self._negative)


class ValueConfig:
    """A config that holds value metrics where RecBole's Collector and Evaluator look for them.

    Args:
        config: RecBole's Config.
        metrics: Names of the value metrics.
    """

    def __init__(self, config: Any, metrics: list[str]) -> None:
        self._config = config
        self._own: dict[str, Any] = {"metrics": metrics, "eval_type": EvaluatorType.VALUE}

    def __getitem__(self, key: str) -> Any:
        """Return our value of a key, or the config's."""
        return self._own[key] if key in self._own else self._config[key]


class ValueMetrics:
    """``config['value_metrics']``, computed from the scores that a ranking evaluation makes anyway.

    In full-sort evaluation each query's positives are valued beside ``config['value_negatives']``
    sampled negatives; with sampled candidates (``uniN``, ``popN``) RecBole's own are used. Every
    evaluation draws the same negatives. Without ``value_metrics``, or with value metrics as
    ``metrics``, there is nothing to do.

    Args:
        config: RecBole's Config with ranking ``metrics``.
        model: The model, or a wrapper that holds it as ``recommender``.

    Raises:
        UsageError: ``value_metrics`` names something else, or ``value_negatives`` is below 1.
    """

    def __init__(self, config: Any, model: nn.Module) -> None:
        self._config, self._model = config, model
        ranking, self.metrics = split_metrics(metric_names(config["value_metrics"]))
        if ranking:
            raise UsageError(f"value_metrics: '{ranking[0]}' ranks items, put it into metrics")
        if config["eval_type"] != EvaluatorType.RANKING:
            self.metrics = []
        count = config["value_negatives"]
        self._negatives = DEFAULT_VALUE_NEGATIVES if count is None else count
        if not isinstance(self._negatives, int) or self._negatives < 1:
            raise UsageError(f"value_negatives: {count!r} is not a whole number of at least 1")
        self.start()

    def start(self, n_items: int = 0) -> None:
        """Forget what was collected; the next evaluation draws the same negatives again.

        Args:
            n_items: Number of items that are ranked, the padding included.
        """
        self._n_items = n_items
        self._generator = torch.Generator().manual_seed(self._config["seed"])
        self._collector = Collector(ValueConfig(self._config, self.metrics))
        self._batch: _Batch | None = None

    def begin(self, batch: Any) -> None:
        """Draw the negatives of a batch of full rankings, before its pieces are scored."""
        interaction, unranked, positive_u, positive_i = batch
        self._batch = None
        if not self.metrics or positive_u is None or torch.is_tensor(unranked):
            return
        shape = len(interaction), self._n_items
        row, item = positive_u, positive_i
        if unranked is not None:
            row, item = torch.cat((row, unranked[0])), torch.cat((item, unranked[1]))
        drawn = sample_negatives(shape, row, item, self._negatives, self._generator)
        self._batch = _Batch(len(interaction), *drawn)

    def collect_ranking(self, scores: Tensor, batch: Any) -> None:
        """Take in a piece of a batch of full rankings, or a whole one.

        Args:
            scores: Scores of each query's items, ``[Q, n_items]``.
            batch: The piece. Unless it is one of a batch that was begun, its negatives are drawn.
        """
        if not self.metrics:
            return
        if self._batch is None:
            self._n_items = scores.shape[1]
            self.begin(batch)
        assert self._batch is not None
        if self._batch.take(scores, *batch[2:]):
            positive, negative = self._batch.scores()
            labels = torch.cat((torch.ones_like(positive), torch.zeros_like(negative)))
            self._collector.eval_collect(torch.cat((positive, negative)), labels)
            self._batch = None

    def pass_over(self, batch: Any) -> None:
        """Draw the negatives of a batch of full rankings that another process scores."""
        self.begin(batch)
        self._batch = None

    @contextmanager
    def collecting_candidates(self, batch: Any) -> Iterator[None]:
        """Take in a batch of sampled candidates from what ``predict`` gives inside the block.

        Args:
            batch: RecBole's batch for evaluation.

        Raises:
            UsageError: Ranking metrics on labelled data, which offers no candidates to rank.
        """
        interaction, query, _, _ = batch
        if query is None and self._config["eval_type"] == EvaluatorType.RANKING:
            names = ", ".join(self._config["metrics"])
            raise UsageError(
                f"metrics: {names} rank candidates, which eval_args mode 'labeled' has not; "
                "take mode 'full' or 'uni100', or value metrics (AUC, LogLoss) only"
            )
        if not self.metrics:
            yield
            return
        with recorded_predictions(self._model) as predictions:
            yield
        labels = interaction[self._config["LABEL_FIELD"]]
        self._collector.eval_collect(torch.cat(predictions), labels)

    def results(self) -> dict[str, float]:
        """Compute the value metrics by RecBole's Evaluator from what was collected.

        Raises:
            TrainingError: The model gives scores that are not numbers.
        """
        results: dict[str, float] = {}
        if not self.metrics:
            return results
        data = of_all(self._collector.get_data_struct())
        scores = data.get("rec.score")
        if scores.isnan().any():
            raise TrainingError(
                f"{self._config['model']} gives scores that are not numbers (NaN); "
                "try a smaller learning_rate or clip_grad_norm"
            )
        # float64 keeps apart what float32 rounds to 1; AUC reads the scores themselves for that.
        logits = not gives_probabilities(self._model)
        probabilities = scores.double().sigmoid() if logits else scores
        for metric in self.metrics:
            data.set("rec.score", scores if metric.lower() in RANK_METRICS else probabilities)
            evaluator = Evaluator(ValueConfig(self._config, [metric]))
            results.update(evaluator.evaluate(data))
        return results
