"""The typed view of this package's keys; the one place that reads them from a RecBole config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import yaml

from recbole_atjt.data.corruption import REPLACEMENTS, SOURCES
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.recognizer import ATTENTIONS, LAST_LAYERS
from recbole_atjt.resources import properties_path
from recbole_atjt.weighting.table import STRATEGIES, find_strategy, strategy_names

SCHEDULES = ("interleaved", "paper")
NORMALIZATIONS = ("none", "mean")
_KINDS: dict[str, type[Any]] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Explained:
    """A key of ours as its YAML file gives it: default, type and one sentence."""

    key: str
    default: Any
    kind: str
    text: str


_LINE = re.compile(r"^(?P<key>\w+):.*?#\s*\((?P<kind>[^)]*)\)\s*(?P<text>.*)$")


@cache
def explained_keys() -> tuple[Explained, ...]:
    """Return every key of ours with default and explanation, read from ``properties/``."""
    paths = (_overall(), *sorted((properties_path() / "weighting").glob("*.yaml")))
    return tuple(item for path in paths for item in _explained_in(path))


@cache
def explained_model_keys() -> tuple[Explained, ...]:
    """Return the keys that models of ours add to RecBole's; each starts with its model's name."""
    return tuple(
        item
        for path in sorted((properties_path() / "model").glob("*.yaml"))
        for item in _explained_in(path)
        if item.key.startswith(f"{path.stem.lower()}_")
    )


def _explained_in(path: Path) -> list[Explained]:
    text = path.read_text(encoding="utf-8")
    defaults = yaml.safe_load(text) or {}
    matches = filter(None, map(_LINE.match, text.splitlines()))
    return [Explained(m["key"], defaults[m["key"]], m["kind"], m["text"]) for m in matches]


def _overall() -> Path:
    return properties_path() / "overall.yaml"


@cache
def _defaults() -> dict[str, Any]:
    return {item.key: item.default for item in explained_keys()}


@dataclass(frozen=True)
class Settings:
    """All settings of the weighting; names are the config keys.

    Build it with :func:`read_settings`. ``properties/weighting/*.yaml`` explains every key; ``own``
    holds the keys of a strategy from another package (:attr:`Weighting.own_keys`).
    """

    weighting: str
    atjt_groups: int
    atjt_alpha: float
    atjt_scale_alpha: bool
    atjt_replace: str
    atjt_replace_from: str
    atjt_replace_count: int
    atjt_noise_share: float
    atjt_schedule: str
    atjt_phase_epochs: int
    atjt_normalize: str
    atjt_joint_gradient: bool
    atjt_strength: float
    atjt_recognizer_embedding_size: int
    atjt_recognizer_attention_hidden_size: int
    atjt_recognizer_output_hidden_sizes: tuple[int, ...]
    atjt_recognizer_dropout: float
    atjt_recognizer_attention: str
    atjt_recognizer_last_layer: str
    atjt_recognizer_learning_rate: float
    dnr_epochs: int
    t_ce_drop_rate: float
    t_ce_num_gradual: int
    t_ce_exponent: float
    r_ce_beta: float
    autodenoise_actions: int
    autodenoise_reward: str
    autodenoise_hidden_sizes: tuple[int, ...]
    autodenoise_learning_rate: float
    autodenoise_weight_decay: float
    autodenoise_baseline_decay: float
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choose(self, "weighting", strategy_names())
        choose(self, "atjt_replace", REPLACEMENTS)
        choose(self, "atjt_replace_from", SOURCES)
        choose(self, "atjt_schedule", SCHEDULES)
        choose(self, "atjt_normalize", NORMALIZATIONS)
        choose(self, "atjt_recognizer_attention", ATTENTIONS)
        choose(self, "atjt_recognizer_last_layer", LAST_LAYERS)
        require(self, "atjt_groups", lambda v: v >= 2, "at least 2")
        require(self, "atjt_alpha", lambda v: 0 <= v < inf, "at least 0 and finite")
        require(self, "atjt_noise_share", lambda v: 0 < v < 1, "inside (0, 1)")
        require(self, "atjt_strength", lambda v: 0 < v <= 1, "inside (0, 1]")
        require(self, "atjt_recognizer_dropout", lambda v: 0 <= v < 1, "inside [0, 1)")
        require(self, "t_ce_drop_rate", lambda v: 0 <= v < 1, "inside [0, 1)")
        require(self, "t_ce_exponent", lambda v: 0 < v < inf, "above 0")
        require(self, "r_ce_beta", lambda v: 0 <= v < inf, "at least 0 and finite")
        require(self, "autodenoise_weight_decay", lambda v: 0 <= v < inf, "at least 0 and finite")
        require(self, "autodenoise_baseline_decay", lambda v: 0 <= v < 1, "inside [0, 1)")
        for key in ("atjt_recognizer_learning_rate", "autodenoise_learning_rate"):
            require(self, key, lambda v: 0 < v < inf, "above 0")
        for key in (
            "t_ce_num_gradual",
            "autodenoise_actions",
            "atjt_replace_count",
            "atjt_phase_epochs",
            "dnr_epochs",
            "atjt_recognizer_embedding_size",
            "atjt_recognizer_attention_hidden_size",
        ):
            require(self, key, lambda v: v >= 1, "at least 1")
        for key in ("atjt_recognizer_output_hidden_sizes", "autodenoise_hidden_sizes"):
            require(self, key, lambda v: min(v) >= 1, "widths of at least 1")


def choose(settings: Any, key: str, choices: tuple[str, ...]) -> None:
    """Refuse a value of ``settings.key`` that is none of ``choices``."""
    value = getattr(settings, key)
    if value not in choices:
        hint = nearest(str(value), choices)
        raise UsageError(f"{key}={value} is unknown{hint}: use one of {', '.join(choices)}")


def require(settings: Any, key: str, holds: Callable[[Any], bool], expected: str) -> None:
    """Refuse a value of ``settings.key`` for which ``holds`` is false."""
    value = getattr(settings, key)
    if not holds(value):
        raise UsageError(f"{key}={value} is out of range: it must be {expected}")


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read the settings from a RecBole config; keys it lacks take our defaults.

    Args:
        config: ``recbole.config.Config`` or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """
    values = {}
    for item in fields(Settings):
        if item.name == "own":
            continue
        given = config[item.name] if item.name in config else _defaults()[item.name]
        values[item.name] = _typed(item.name, str(item.type), given)
    return Settings(**values, own=_own(config, values["weighting"]))


def own_keys(weighting: str) -> Mapping[str, Any]:
    """Return the keys, with defaults, that a strategy of another package brings; {} for ours."""
    strategy = find_strategy(weighting) if weighting in strategy_names() else None
    return {} if strategy is None else strategy.own_keys


def keys_of_others() -> set[str]:
    """Return the keys of all strategies from other packages; unusable ones have none."""
    keys: set[str] = set()
    for name in set(strategy_names()) - set(STRATEGIES):
        with suppress(UsageError):
            keys.update(own_keys(name))
    return keys


def _own(config: Mapping[str, Any], weighting: str) -> dict[str, Any]:
    values = dict(own_keys(weighting))
    for key, default in values.items():
        kind = type(default).__name__
        if key in config:
            values[key] = _typed(key, kind, config[key]) if kind in _KINDS else config[key]
    return values


def _typed(key: str, kind: str, value: Any) -> Any:
    """Check the type of a value; whole numbers serve as floats, lists as tuples."""
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("tuple"):
        sizes = value if isinstance(value, (list, tuple)) else [value]
        if sizes and all(isinstance(s, int) and not isinstance(s, bool) for s in sizes):
            return tuple(sizes)
        raise UsageError(f"{key}={value} is not a list of whole numbers, such as [256, 64]")
    wanted = _KINDS[kind]
    if kind == "str" and value is None:
        value = "none"
    if not isinstance(value, wanted) or (kind == "int" and isinstance(value, bool)):
        named = {"int": "a whole number", "float": "a number", "bool": "True or False"}
        raise UsageError(f"{key}={value} is not {named.get(kind, 'a name')}")
    return value
