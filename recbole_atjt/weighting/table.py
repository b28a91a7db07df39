"""The table of weighting strategies: name -> the strategy's class."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.autodenoise import HardAutoDenoise, SoftAutoDenoise
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.frequency import InverseFrequency
from recbole_atjt.weighting.loss_based import ReweightedLoss, TruncatedLoss
from recbole_atjt.weighting.recognition import (
    AuxiliaryTaskJointTraining,
    DirectNoiseRecognition,
    WithoutAuxiliaryTask,
)

STRATEGIES: dict[str, type[Weighting] | None] = {
    "none": None,
    "erm_revised": None,
    "frequency": InverseFrequency,
    "t_ce": TruncatedLoss,
    "r_ce": ReweightedLoss,
    "atjt": AuxiliaryTaskJointTraining,
    "wat": WithoutAuxiliaryTask,
    "dnr": DirectNoiseRecognition,
    "autodenoise_h": HardAutoDenoise,
    "autodenoise_s": SoftAutoDenoise,
}
"""This package's own; None: nothing is weighted, the training is plain RecBole's."""

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
        UsageError: Two packages use the name, or what a package announces is no strategy.
    """
    entries = [entry for entry in _announced() if entry.name == name]
    if len(entries) + (name in STRATEGIES) > 1:
        found = ", ".join(entry.value for entry in entries)
        raise UsageError(f"weighting={name} is announced more than once ({found}): remove one")
    return _load(entries[0]) if entries else STRATEGIES[name]


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
