"""A cell: one training of a bench, and what makes two of them the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The name of planting nothing.
NOTHING = "none"
#: Where something lies does not make another cell of it.
PATHS = frozenset({"data_path"})
#: Of the metrics, unless the bench says otherwise; RecBole's 4 make ties of small differences.
DECIMALS = 10
_NAMES = ("model", "dataset", "plant", "weighting", "seed", "settings")


@dataclass(frozen=True)
class Cell:
    """One run of a bench.

    Args:
        model: Name of the model.
        dataset: Name of the dataset.
        plant: What is planted, as the key ``plant``; ``none`` for nothing.
        strategy: The label that the strategy's row has.
        weighting: Name of the strategy.
        seed: Seed of the run.
        settings: All keys that the bench sets, but those of :data:`PATHS`.
        paths: Keys that say where something lies.
    """

    model: str
    dataset: str
    plant: str
    strategy: str
    weighting: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, Any]:
        """What a line says of its cell."""
        return {"strategy": self.strategy, **{name: getattr(self, name) for name in _NAMES}}

    @property
    def identity(self) -> str:
        """What makes two cells the same; a label and a path do not count."""
        return identity_of(self.names)

    @property
    def keys(self) -> dict[str, Any]:
        """The settings that a run gets."""
        plant = None if self.plant == NOTHING else self.plant
        return {
            "metric_decimal_place": DECIMALS,
            **self.settings,
            **self.paths,
            "plant": plant,
            "show_progress": False,
        }

    def __str__(self) -> str:
        planted = "" if self.plant == NOTHING else f" with {self.plant}"
        return f"{self.model} on {self.dataset}{planted}, {self.strategy}"


def identity_of(line: Mapping[str, Any]) -> str:
    """Return the identity of the cell that a line is of."""
    return json.dumps({name: line[name] for name in _NAMES}, sort_keys=True, default=str)
