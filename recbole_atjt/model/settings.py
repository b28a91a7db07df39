"""The typed view of AEL's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.settings import choose, explained_model_keys, require

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
        choose(self, "ael_combine", COMBINATIONS)
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
        expected = f"at least {least}" if most is None else f"from {least} to {most}"
        require(self, key, lambda v: least <= v and (most is None or v <= most), expected)

    def _require_number(self, key: str, expected: str, holds: Any) -> None:
        value = getattr(self, key)
        if not (isinstance(value, float) or _is_whole(value)):
            raise UsageError(f"{key}={value} is not a number")
        require(self, key, lambda v: isfinite(v) and holds(v), expected)


def read_ael_settings(config: Mapping[str, Any]) -> AELSettings:
    """Read the settings from a RecBole config; keys that it lacks take our defaults.

    Args:
        config: ``recbole.config.Config`` or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """
    defaults = {item.key: item.default for item in explained_model_keys()}
    names = [item.name for item in fields(AELSettings)]
    return AELSettings(**{key: config[key] if key in config else defaults[key] for key in names})


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
