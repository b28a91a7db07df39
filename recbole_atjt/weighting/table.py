"""The table of weighting strategies: name -> the strategy's class."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import Tensor

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.declared import DeclaredSettings, declare, read_settings
from recbole_atjt.settings.explained import Explained, declared_keys
from recbole_atjt.weighting.autodenoise import HardAutoDenoise, SoftAutoDenoise
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.channel import NoiseChannel
from recbole_atjt.weighting.frequency import InverseFrequency
from recbole_atjt.weighting.joint import LikelihoodJointTraining
from recbole_atjt.weighting.loss_based import ReweightedLoss, TruncatedLoss
from recbole_atjt.weighting.oracle import Oracle
from recbole_atjt.weighting.recognition import DirectNoiseRecognition, WithoutAuxiliaryTask

STRATEGIES: dict[str, type[Weighting] | None] = {
    "none": None,
    "erm_revised": None,
    "frequency": InverseFrequency,
    "t_ce": TruncatedLoss,
    "r_ce": ReweightedLoss,
    "channel": NoiseChannel,
    "atjt": LikelihoodJointTraining,
    "wat": WithoutAuxiliaryTask,
    "dnr": DirectNoiseRecognition,
    "autodenoise_h": HardAutoDenoise,
    "autodenoise_s": SoftAutoDenoise,
    "oracle": Oracle,
}
"""This package's own; None: nothing is weighted, the training is plain RecBole's."""

PLAIN = {
    "none": "Plain RecBole, bit for bit: every sequence counts the same.",
    "erm_revised": "Plain training; the validation that selects the best epoch drops its largest "
    "losses (`revised_validation`).",
}
"""What the names without a class are; a class says it in the first line of its docstring."""

ENTRY_POINTS = "recbole_atjt.weightings"
"""Group in which another package announces its strategies: ``name = module:Class``."""


def strategy_names() -> tuple[str, ...]:
    """Return the names that ``weighting`` may take, those of other packages included."""
    return tuple(dict.fromkeys([*STRATEGIES, *(entry.name for entry in _announced())]))


def find_strategy(name: str) -> type[Weighting] | None:
    """Return the class of a strategy, or None where training stays plain.

    Args:
        name: One of :func:`strategy_names`.

    Raises:
        UsageError: No strategy has the name, two packages use it, or what a package announces is
            no strategy.
    """
    known = strategy_names()
    if name not in known:
        hint = nearest(str(name), known)
        raise UsageError(f"weighting={name} is unknown{hint}: use one of {', '.join(known)}")
    entries = [entry for entry in _announced() if entry.name == name]
    if len(entries) + (name in STRATEGIES) > 1:
        found = ", ".join(entry.value for entry in entries)
        raise UsageError(f"weighting={name} is announced more than once ({found}): remove one")
    return _load(entries[0]) if entries else STRATEGIES[name]


def weighting_of(config: Any) -> str:
    """Return the name of a config's strategy; ``none`` where it names none."""
    if "weighting" not in config or config["weighting"] is None:
        return "none"
    return str(config["weighting"])


def build_weighting(config: Any, item_frequency: Tensor) -> Weighting | None:
    """Build the strategy that a config names, with the settings that the config has for it.

    Args:
        config: ``recbole.config.Config`` or any mapping with ``[]`` and ``in``.
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.

    Returns:
        The strategy, or None where training is plain RecBole's.

    Raises:
        UsageError: The strategy or a value of its keys is none that there is.
    """
    strategy = find_strategy(weighting_of(config))
    if strategy is None:
        return None
    return strategy.build(read_settings(settings_of(strategy), config), item_frequency)


def settings_of(strategy: type[Weighting]) -> type[DeclaredSettings]:
    """Return the class of a strategy's settings, also where it declares ``own_keys`` alone."""
    if strategy.own_keys:
        return declare(f"{strategy.__name__}Settings", strategy.own_keys)
    return strategy.settings_class


def check_settings(config: Mapping[str, Any]) -> None:
    """Check the keys of this package's strategies, and those of the strategy that a config names.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """
    chosen = find_strategy(weighting_of(config))
    for strategy in dict.fromkeys([*STRATEGIES.values(), chosen]):
        if strategy is not None:
            read_settings(settings_of(strategy), config)


def reward_of(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the metric that a config's strategy learns from; None for none."""
    strategy = find_strategy(weighting_of(config))
    if strategy is None or not strategy.reward_key:
        return None
    settings = read_settings(settings_of(strategy), config)
    return strategy.reward_key, str(getattr(settings, strategy.reward_key))


def strategy_keys(name: str) -> tuple[Explained, ...]:
    """Return the keys of a strategy, explained.

    Raises:
        UsageError: See :func:`find_strategy`.
    """
    strategy = find_strategy(name)
    return () if strategy is None else declared_keys(settings_of(strategy))


def own_keys() -> dict[str, tuple[Explained, ...]]:
    """Return the keys of this package's own strategies, explained, by strategy."""
    return {
        name: () if strategy is None else declared_keys(settings_of(strategy))
        for name, strategy in STRATEGIES.items()
    }


def keys_of_others() -> set[str]:
    """Return the keys of all strategies from other packages; unusable ones have none."""
    keys: set[str] = set()
    for name in set(strategy_names()) - set(STRATEGIES):
        with suppress(UsageError):
            keys.update(item.key for item in strategy_keys(name))
    return keys


def _announced() -> list[EntryPoint]:
    if sys.version_info >= (3, 10):
        return list(entry_points(group=ENTRY_POINTS))
    else:
        return list(dict.fromkeys(entry_points().get(ENTRY_POINTS, ())))


def _load(entry: EntryPoint) -> type[Weighting]:
    try:
        found = entry.load()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"weighting={entry.name}: {entry.value} can't be loaded: {reason}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Weighting)):
        raise UsageError(
            f"weighting={entry.name}: {entry.value} is no class derived from "
            "recbole_atjt.weighting.base.Weighting"
        )
    return found
