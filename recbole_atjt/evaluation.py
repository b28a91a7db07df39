"""Value metrics (AUC, LogLoss, MAE, RMSE) beside RecBole's ranking metrics in one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator.register import metric_types, metrics_dict
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType, ModelType
from torch import Tensor, nn

from recbole_atjt.errors import TrainingError, UsageError, nearest

DEFAULT_VALUE_NEGATIVES = 100

RANK_METRICS = frozenset({"auc"})
"""Value metrics that read the order of the scores only; all others read probabilities."""

PROBABILITY_MODELS = frozenset(
    {
        "DIEN", "DIN", "GRU4RecCPR", "RepeatNet", "SASRecCPR",
        "DMF", "FISM", "NAIS", "NNCF", "NeuMF",
    }
)  # fmt: skip
"""RecBole's sequential and general models whose scores are probabilities (context-aware: all)."""

_REDRAWS = 8


def split_metrics(metrics: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split metric names into those that rank a query's items and those that value single scores.

    Args:
        metrics: RecBole's names of metrics, in any case.

    Returns:
        Names of the ranking metrics and names of the value metrics, as given and in their order.

    Raises:
        UsageError: RecBole has no metric of that name.
    """
    ranking: list[str] = []
    value: list[str] = []
    for metric in metrics:
        kind = metric_types.get(str(metric).lower())
        if kind is None:
            known = [metrics_dict[name].__name__ for name in sorted(metric_types)]
            hint = nearest(str(metric), known)
            raise UsageError(f"no metric '{metric}'{hint}; known are {', '.join(known)}")
        (value if kind == EvaluatorType.VALUE else ranking).append(metric)
    return ranking, value


def gives_probabilities(model: nn.Module) -> bool:
    """Tell whether a model's ``predict`` gives probabilities rather than logits.

    A model from outside RecBole says so with ``predicts_probabilities = True``.

    Args:
        model: A RecBole model, a subclass of one, or a wrapper that holds one as ``recommender``.
    """
    bare = getattr(model, "recommender", model)
    if getattr(bare, "type", None) == ModelType.CONTEXT:
        return True
    if hasattr(bare, "predicts_probabilities"):
        return bool(bare.predicts_probabilities)
    return any(kind.__name__ in PROBABILITY_MODELS for kind in type(bare).__mro__)


def sample_negatives(
    scores: Tensor, positive_u: Tensor, positive_i: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` items for each row uniformly, with replacement, from its candidates.

    Candidates are the items 1 to n - 1 (0 is padding) whose score is not minus infinity and that
    are no positives of the row. Draws depend on the generator and on which items are candidates,
    not on the scores.

    Args:
        scores: [rows, n] scores; minus infinity marks items that are excluded.
        positive_u: [P] row of each positive.
        positive_i: [P] item of each positive.
        count: Items drawn for each row.
        generator: A generator on the CPU, so that every device draws alike.

    Returns:
        Rows and items of the draws, each [rows * count]; rows without a candidate have none.
    """
    device = scores.device
    allowed_positive = scores[positive_u, positive_i]
    scores[positive_u, positive_i] = -torch.inf
    try:
        shape = (scores.shape[0], count)
        items = torch.randint(1, scores.shape[1], shape, generator=generator).to(device)
        for _ in range(_REDRAWS):
            excluded = scores.gather(1, items) == -torch.inf
            missing = int(excluded.sum())
            if not missing:
                break
            redrawn = torch.randint(1, scores.shape[1], (missing,), generator=generator)
            items[excluded] = redrawn.to(device)
        keep = _draw_where_candidates_are_rare(scores, items, generator)
    finally:
        scores[positive_u, positive_i] = allowed_positive
    rows = torch.arange(shape[0], device=device)
    return rows[keep].repeat_interleave(count), items[keep].flatten()


def _draw_where_candidates_are_rare(
    scores: Tensor, items: Tensor, generator: torch.Generator
) -> Tensor:
    """Redraw rows that still hold an excluded item by rank; tell which rows have candidates."""
    keep = torch.ones(len(items), dtype=torch.bool, device=items.device)
    rows = (scores.gather(1, items) == -torch.inf).any(dim=1).nonzero().squeeze(1)
    if len(rows):
        candidate = scores[rows] != -torch.inf
        candidate[:, 0] = False
        rank_of = candidate.cumsum(dim=1)
        total = rank_of[:, -1:]
        keep[rows] = total.squeeze(1) > 0
        draw = torch.rand((len(rows), items.shape[1]), generator=generator, dtype=torch.float64)
        rank = (draw.to(items.device) * total).long() + 1
        items[rows] = torch.searchsorted(rank_of, rank).clamp(max=scores.shape[1] - 1)
    return keep


@contextmanager
def recorded_predictions(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what ``model.predict`` returns inside the block, in the order of the calls.

    RecBole scatters these into a matrix with one row for each user, where the predictions for two
    histories of one user overwrite each other.
    """
    predictions: list[Tensor] = []
    target: Any = model  # RecBole's classes are untyped, and torch takes any attribute for a tensor
    predict = target.predict
    own = "predict" in vars(model)

    def record(interaction: Any) -> Any:
        scores = predict(interaction)
        predictions.append(scores.reshape(-1))
        return scores

    target.predict = record
    try:
        yield predictions
    finally:
        if own:
            target.predict = predict
        else:
            del target.predict


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


class JointEvaluation(Trainer):  # type: ignore[misc,unused-ignore]
    """RecBole trainer that adds ``config['value_metrics']`` to the ranking metrics it evaluates.

    In full-sort evaluation each query's positives are valued beside ``config['value_negatives']``
    sampled negatives; with sampled candidates (``uniN``, ``popN``) RecBole's own are used. Every
    ``evaluate`` draws the same negatives. Put it before other trainers in the list of bases.

    Args:
        config: RecBole's Config with ranking ``metrics``; without ``value_metrics``, or with value
            metrics as ``metrics``, the trainer evaluates as RecBole does.
        model: The model, or a wrapper that holds it as ``recommender``.

    Raises:
        UsageError: ``value_metrics`` names something else, or ``value_negatives`` is below 1.
    """

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        named = config["value_metrics"] or []
        ranking, self._value_metrics = split_metrics([named] if isinstance(named, str) else named)
        if ranking:
            raise UsageError(f"value_metrics: '{ranking[0]}' ranks items, put it into metrics")
        if config["eval_type"] != EvaluatorType.RANKING:
            self._value_metrics = []
        count = config["value_negatives"]
        self._value_negatives = DEFAULT_VALUE_NEGATIVES if count is None else count
        if not isinstance(self._value_negatives, int) or self._value_negatives < 1:
            raise UsageError(f"value_negatives: {count!r} is not a whole number of at least 1")
        self._start_values()

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does and add the value metrics to its result.

        Raises:
            UsageError: Ranking metrics on labelled data, which offers no candidates to rank.
            TrainingError: The model gives scores that are not numbers.
        """
        self._start_values()
        result = super().evaluate(eval_data, load_best_model, model_file, show_progress)
        if result is not None and self._value_metrics:
            values = self._value_results()
            self.wandblogger.log_eval_metrics(values, head="eval")
            result.update(values)
        return result

    def _start_values(self) -> None:
        self._value_generator = torch.Generator().manual_seed(self.config["seed"])
        self._value_collector = Collector(ValueConfig(self.config, self._value_metrics))

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        interaction, scores, positive_u, positive_i = super()._full_sort_batch_eval(batched_data)
        if self._value_metrics:
            positive = scores[positive_u, positive_i]
            negative = scores[
                sample_negatives(
                    scores, positive_u, positive_i, self._value_negatives, self._value_generator
                )
            ]
            labels = torch.cat((torch.ones_like(positive), torch.zeros_like(negative)))
            self._value_collector.eval_collect(torch.cat((positive, negative)), labels)
        return interaction, scores, positive_u, positive_i

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        interaction, row_idx, _, _ = batched_data
        if row_idx is None and self.config["eval_type"] == EvaluatorType.RANKING:
            names = ", ".join(self.config["metrics"])
            raise UsageError(
                f"metrics: {names} rank candidates, which eval_args mode 'labeled' has not; "
                "take mode 'full' or 'uni100', or value metrics (AUC, LogLoss) only"
            )
        if not self._value_metrics:
            return super()._neg_sample_batch_eval(batched_data)
        with recorded_predictions(self.model) as predictions:
            evaluated = super()._neg_sample_batch_eval(batched_data)
        self._value_collector.eval_collect(
            torch.cat(predictions), interaction[self.config["LABEL_FIELD"]]
        )
        return evaluated

    def _value_results(self) -> dict[str, float]:
        """Compute the value metrics by RecBole's Evaluator from what was collected."""
        data = self._value_collector.get_data_struct()
        scores = data.get("rec.score")
        if scores.isnan().any():
            raise TrainingError(
                f"{self.config['model']} gives scores that are not numbers (NaN); "
                "try a smaller learning_rate or clip_grad_norm"
            )
        # float64 keeps apart what float32 rounds to 1; AUC reads the scores themselves for that.
        logits = not gives_probabilities(self.model)
        probabilities = scores.double().sigmoid() if logits else scores
        results: dict[str, float] = {}
        for metric in self._value_metrics:
            data.set("rec.score", scores if metric.lower() in RANK_METRICS else probabilities)
            evaluator = Evaluator(ValueConfig(self.config, [metric]))
            results.update(evaluator.evaluate(data))
        return results
