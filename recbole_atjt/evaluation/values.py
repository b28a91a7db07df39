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

    def collect_ranking(self, scores: Tensor, positive_u: Tensor, positive_i: Tensor) -> None:
        """Take in a batch of full rankings.

        Args:
            scores: Scores of each query's items, ``[Q, n_items]``; minus infinity for no candidate.
            positive_u: Query of each positive, ``[P]``.
            positive_i: Item of each positive, ``[P]``.
        """
        if not self.metrics:
            return
        positive = scores[positive_u, positive_i]
        drawn = sample_negatives(scores, positive_u, positive_i, self._negatives, self._generator)
        negative = scores[drawn]
        labels = torch.cat((torch.ones_like(positive), torch.zeros_like(negative)))
        self._collector.eval_collect(torch.cat((positive, negative)), labels)

    def pass_over(self, batch: Any) -> None:
        """Draw the negatives of a batch of full rankings that another process scores."""
        interaction, unranked, positive_u, positive_i = batch
        if not self.metrics or positive_u is None or torch.is_tensor(unranked):
            return
        scores = torch.zeros(len(interaction), self._n_items)
        scores[:, 0] = -torch.inf
        if unranked is not None:
            scores[unranked] = -torch.inf
        sample_negatives(scores, positive_u, positive_i, self._negatives, self._generator)

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
