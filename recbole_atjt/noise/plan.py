"""What is to be planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SEED = 2020
BAIT = 30


@dataclass(frozen=True)
class Plan:
    """What is planted.

    Args:
        shares: Share of the training clicks (of the users, for ``users``) by kind, in (0, 1).
        seed: Seed of the planting alone, at least 0.
        items: Number of clickbait items, at least 2.
    """

    shares: Mapping[str, float]
    seed: int = SEED
    items: int = BAIT
