"""All that knows the names of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole.evaluator.register import metric_types, metrics_dict
from recbole.utils import EvaluatorType

from recbole_atjt.errors import UsageError, nearest


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


#: Metrics whose name goes without @k.
WITHOUT_K = frozenset({"gauc", "auc", "logloss", "mae", "rmse"})


def check_reward(config: Any, weighting: str, key: str, reward: str) -> None:
    """Refuse a run in which a strategy would not get its reward after each epoch.

    Args:
        config: RecBole's final settings, with ``value_metrics`` where this package computes them.
        weighting: Name of the strategy.
        key: Config key that names the metric.
        reward: Name of the metric.

    Raises:
        UsageError: Validation is not once an epoch, or ``reward`` is not computed or better when
            smaller.
    """
    if config["eval_step"] != 1:
        raise UsageError(
            f"weighting={weighting} learns from the validation of every epoch: use eval_step=1 "
            f"instead of {config['eval_step']}"
        )
    usable = [name for name in computed_metrics(config) if not smaller_is_better(name)]
    if reward.lower() in map(str.lower, usable):
        return
    problem = "is not computed"
    if smaller_is_better(reward):
        problem = "is better when smaller"
    raise UsageError(f"{key}={reward} {problem}: choose one of metrics ({', '.join(usable)})")


def computed_metrics(config: Any) -> list[str]:
    """Return the metrics that an evaluation computes, such as ``NDCG@10`` and ``AUC``."""
    topk = config["topk"] if isinstance(config["topk"], list) else [config["topk"]]
    names = [*config["metrics"], *(config["value_metrics"] or [])]
    return [
        found
        for name in names
        for found in ([name] if name.lower() in WITHOUT_K else [f"{name}@{k}" for k in topk])
    ]


def smaller_is_better(metric: str) -> bool:
    """Tell whether RecBole counts a metric, such as ``LogLoss``, as an error."""
    known = metrics_dict.get(metric.partition("@")[0].lower())
    return bool(getattr(known, "smaller", False))


def metric_names(value: Any) -> list[str]:
    """Return one name, a list of names or nothing as a list."""
    return [value] if isinstance(value, str) else list(value or ())


def default_valid_metric(final: Mapping[str, Any], named: Sequence[str]) -> str:
    """Return the default that selects the best epoch, or the metric next to it that is there."""
    name, _, k = str(final["valid_metric"]).partition("@")
    if name.lower() not in {metric.lower() for metric in named}:
        name = named[0]
    topk = final["topk"] if isinstance(final["topk"], list) else [final["topk"]]
    if name.lower() in WITHOUT_K:
        return name
    return f"{name}@{k if k and int(k) in topk else max(topk)}"


def divide_metrics(final: dict[str, Any], wanted: Sequence[str], chosen: bool) -> None:
    """Move value metrics out of RecBole's sight where ranking metrics stand beside them.

    Args:
        final: The settings; ``metrics``, ``value_metrics`` and, unless it was chosen,
            ``valid_metric`` are set.
        wanted: Value metrics to compute beside those that are named.
        chosen: Whether the caller chose ``valid_metric``.

    Raises:
        UsageError: No metric is named, or one that there is not.
    """
    ranking, value = split_metrics(metric_names(final["metrics"]))
    value += [name for name in metric_names(final.get("value_metrics")) if name not in value]
    value += [name for name in wanted if name.lower() not in map(str.lower, value)]
    if not ranking and not value:
        raise UsageError(f"metrics={final['metrics']} names no metric")
    named = [*ranking, *value]
    modes = final["eval_args"].get("mode", "full") if final["eval_args"] else "full"
    modes = modes.values() if isinstance(modes, dict) else [modes]
    if not ranking and "full" in modes:
        ranking = ["GAUC"]
    final["metrics"] = ranking or value
    final["value_metrics"] = value if ranking else []
    if not chosen:
        final["valid_metric"] = default_valid_metric(final, named)


def is_value_metric(name: str) -> bool:
    """Tell whether a metric values single scores, and counts more as better."""
    return metric_types.get(name.lower()) == EvaluatorType.VALUE and not smaller_is_better(name)


def check_valid_metric(final: Mapping[str, Any]) -> None:
    """Refuse a ``valid_metric`` that an evaluation does not compute.

    Raises:
        UsageError: It is none of the metrics, or its ``@k`` none of ``topk``.
    """
    given = final["valid_metric"]
    name, _, k = str(given).partition("@")
    computed = [*final["metrics"], *final["value_metrics"]]
    if name.lower() not in {metric.lower() for metric in computed}:
        raise UsageError(f"valid_metric={given} is not computed: choose one of metrics={computed}")
    if (name.lower() in WITHOUT_K) == bool(k):
        example = f"{name}@{final['topk'][0]}" if not k else name
        raise UsageError(f"valid_metric={given} is not computed: use {example}")
    if k and k not in map(str, final["topk"]):
        raise UsageError(f"valid_metric={given} is not computed: topk={final['topk']}")
