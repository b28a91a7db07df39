"""Training that learns from its own validation: the reward of a strategy that wants one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recbole.evaluator.register import metrics_dict
from recbole.trainer import Trainer

from recbole_atjt.errors import TrainingError, UsageError

#: Metrics whose name goes without @k.
WITHOUT_K = frozenset({"gauc", "auc", "logloss", "mae", "rmse"})


def check_reward(config: Any, weighting: str, reward: str) -> None:
    """Refuse a run in which a strategy would not get its reward after each epoch.

    Args:
        config: RecBole's final settings, with ``value_metrics`` where this package computes them.
        weighting: Name of the strategy.
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
    raise UsageError(
        f"autodenoise_reward={reward} {problem}: choose one of metrics ({', '.join(usable)})"
    )


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


class RewardedTraining(Trainer):  # type: ignore[misc,unused-ignore]
    """RecBole trainer that hands a strategy the validation metric of each epoch.

    Put it before other trainers in the list of bases.
    """

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as RecBole does, where a strategy that wants a reward can get it.

        Raises:
            UsageError: There is no validation that gives the reward.
        """
        if self._wants_reward:
            settings = self.weighting.settings
            check_reward(self.config, settings.weighting, settings.autodenoise_reward)
            if not valid_data:
                raise UsageError(
                    f"weighting={settings.weighting} learns from validation data, which eval_args "
                    f"split={self.config['eval_args']['split']} leaves none of"
                )
        return super().fit(train_data, valid_data, *args, **kwargs)

    @property
    def _wants_reward(self) -> bool:
        return self.weighting is not None and self.weighting.wants_reward

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> tuple[float, Mapping[str, float]]:
        score, result = super()._valid_epoch(*args, **kwargs)
        if self._wants_reward:
            name = self.weighting.settings.autodenoise_reward
            reward = float(result[name.lower()])
            if not math.isfinite(reward):
                raise TrainingError(f"the reward autodenoise_reward={name} is {reward}")
            self.weighting.receive_reward(reward)
        return score, result
