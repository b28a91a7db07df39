"""The key that says from which posterior on a click stays in histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.table import find_strategy, weighting_of

MASK_KEY = "history_mask_below"


def mask_below(config: Mapping[str, Any]) -> float | None:
    """Return the probability of being clean below which a click leaves histories; None for off.

    Args:
        config: RecBole's config, or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: It is no number inside (0, 1), or the strategy gives no probability.
    """
    if MASK_KEY not in config or config[MASK_KEY] is None:
        return None
    below = config[MASK_KEY]
    if not isinstance(below, (int, float)) or isinstance(below, bool) or not 0 < below < 1:
        raise UsageError(f"{MASK_KEY}={below} is not a number inside (0, 1)")
    name = weighting_of(config)
    strategy = find_strategy(name)
    if strategy is None or not strategy.weighs_by_probability:
        raise UsageError(
            f"{MASK_KEY}={below} needs a strategy whose weights are probabilities of being clean, "
            f"such as channel or atjt, not weighting={name}"
        )
    return float(below)
