"""From settings to a strategy."""

from __future__ import annotations

from torch import Tensor

from recbole_atjt.settings import Settings
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.table import find_strategy


def build_weighting(settings: Settings, item_frequency: Tensor) -> Weighting | None:
    """Build the strategy that ``settings.weighting`` names.

    Args:
        settings: All settings.
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.

    Returns:
        The strategy, or None where training is plain RecBole's.

    Raises:
        UsageError: A strategy of another package can't be used.
    """
    strategy = find_strategy(settings.weighting)
    return None if strategy is None else strategy(settings, item_frequency)
