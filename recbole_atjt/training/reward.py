"""The reward of a strategy that learns from the validation of each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.evaluation.naming import check_reward
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.table import weighting_of


class Reward:
    """Hands a strategy the validation metric that it learns from.

    Args:
        weighting: A strategy that wants a reward.
    """

    def __init__(self, weighting: Weighting) -> None:
        self._weighting = weighting

    @classmethod
    def of(cls, weighting: Weighting | None) -> Reward | None:
        """Return it for a strategy that wants one, else None."""
        return cls(weighting) if weighting is not None and weighting.reward else None

    def require(self, config: Any, valid_data: Any) -> None:
        """Check that every epoch will give the reward.

        Raises:
            UsageError: There is no validation that gives it.
        """
        name = weighting_of(config)
        check_reward(config, name, self._weighting.reward_key, self._weighting.reward)
        if not valid_data:
            raise UsageError(
                f"weighting={name} learns from validation data, which eval_args "
                f"split={config['eval_args']['split']} leaves none of"
            )

    def hand_on(self, result: Mapping[str, float]) -> None:
        """Give the strategy the metric of the epoch that was just validated.

        Args:
            result: Validation metrics by their names in lower case.

        Raises:
            TrainingError: It is no number.
        """
        name = self._weighting.reward
        reward = float(result[name.lower()])
        if not math.isfinite(reward):
            raise TrainingError(f"the reward {self._weighting.reward_key}={name} is {reward}")
        self._weighting.receive_reward(reward)
