"""The typed view of AEL's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from math import isfinite
from typing import Any

import yaml

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.resources import properties_path

#: From the mildest denoising to the strongest.
PARENTS = ("mild", "moderate", "strong")
COMBINATIONS = ("gate", "average", *PARENTS)
#: What each stage trains.
STAGES = ("large", "medium", "small", "gate")


@dataclass(frozen=True)
class AELSettings:
    """AEL's settings; names are the config keys, ``properties/model/AEL.yaml`` explains them."""

    ael_combine: str
    ael_hidden_sizes: tuple[int, ...]
    ael_corruption: float
    ael_negatives: int
    ael_top_k: int
    ael_importance: float
    ael_load: float
    ael_epochs: tuple[int, ...]
    ael_gate_learning_rate: float

    def __post_init__(self) -> None:
        if self.ael_combine not in COMBINATIONS:
            raise UsageError(
                f"ael_combine={self.ael_combine} is unknown"
                f"{nearest(str(self.ael_combine), COMBINATIONS)}: use one of "
                f"{', '.join(COMBINATIONS)}"
            )
        self._require_sizes("ael_hidden_sizes", len(PARENTS))
        self._require_sizes("ael_epochs", len(STAGES))
        self._require_whole("ael_negatives", 1)
        self._require_whole("ael_top_k", 1, len(PARENTS))
        self._require_number("ael_corruption", "inside [0, 1)", lambda v: 0 <= v < 1)
        self._require_number("ael_importance", "at least 0", lambda v: v >= 0)
        self._require_number("ael_load", "at least 0", lambda v: v >= 0)
        self._require_number("ael_gate_learning_rate", "above 0", lambda v: v > 0)

    def _require_sizes(self, key: str, count: int) -> None:
        value = getattr(self, key)
        is_list = isinstance(value, (list, tuple)) and len(value) == count
        if not (is_list and all(_is_whole(size) and size >= 1 for size in value)):
            given = list(value) if isinstance(value, (list, tuple)) else value
            raise UsageError(f"{key}={given} must be {count} whole numbers of at least 1")
        object.__setattr__(self, key, tuple(value))

    def _require_whole(self, key: str, least: int, most: int | None = None) -> None:
        value = getattr(self, key)
        if not _is_whole(value):
            raise UsageError(f"{key}={value} is not a whole number")
        if value < least or (most is not None and value > most):
            wanted = f"at least {least}" if most is None else f"from {least} to {most}"
            raise UsageError(f"{key}={value} is out of range: it must be {wanted}")

    def _require_number(self, key: str, expected: str, holds: Any) -> None:
        value = getattr(self, key)
        if not (isinstance(value, float) or _is_whole(value)):
            raise UsageError(f"{key}={value} is not a number")
        if not (isfinite(value) and holds(value)):
            raise UsageError(f"{key}={value} is out of range: it must be {expected}")


def read_ael_settings(config: Mapping[str, Any]) -> AELSettings:
    """Read the settings from a RecBole config; keys that it lacks take our defaults.

    Args:
        config: ``recbole.config.Config`` or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """
    names = [item.name for item in fields(AELSettings)]
    return AELSettings(**{key: config[key] if key in config else _defaults()[key] for key in names})


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _defaults() -> dict[str, Any]:
    path = properties_path() / "model" / "AEL.yaml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded
