"""The table of weighting strategies: name -> the strategy's class."""

from __future__ import annotations

from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.recognition import (
    AuxiliaryTaskJointTraining,
    DirectNoiseRecognition,
    WithoutAuxiliaryTask,
)

STRATEGIES: dict[str, type[Weighting] | None] = {
    "none": None,
    "atjt": AuxiliaryTaskJointTraining,
    "wat": WithoutAuxiliaryTask,
    "dnr": DirectNoiseRecognition,
}


def strategy_names() -> tuple[str, ...]:
    """Return the names that ``weighting`` may take."""
    return tuple(STRATEGIES)
