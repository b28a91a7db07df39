"""Was the selection honest: what was tried on validation, and which differences seeds explain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from recbole_atjt.report.result import RunResult

#: Keys of a run that are no part of its configuration.
_NO_CHOICE = {"seed", "checkpoint_dir", "show_progress", "gpu_id", "device", "state"}


def configurations(runs: Sequence[RunResult]) -> int:
    """Count the configurations that were tried on validation: runs that differ beyond the seed."""
    tried = {
        json.dumps(
            [run.weighting, {k: v for k, v in run.config.items() if k not in _NO_CHOICE}],
            sort_keys=True,
            default=str,
        )
        for run in runs
    }
    return len(tried)


@dataclass(frozen=True)
class Difference:
    """A strategy's test metric against plain training.

    Attributes:
        change: Difference of the means.
        percent: The same in percent of plain training's mean; None where that is 0.
        spread: The larger of the two standard deviations over seeds; None where a side has one.
    """

    change: float
    percent: float | None
    spread: float | None

    @property
    def is_within_spread(self) -> bool:
        """Whether seeds alone make differences as large; False where that is unknown."""
        return self.spread is not None and abs(self.change) < self.spread


def difference(base: Sequence[float], values: Sequence[float]) -> Difference:
    """Compare a strategy's values, one a seed, with those of plain training.

    Args:
        base: Values of plain training.
        values: Values of the strategy.
    """
    before, change = mean(base), mean(values) - mean(base)
    both = min(len(base), len(values)) > 1
    spread = max(stdev(base), stdev(values)) if both else None
    return Difference(change, 100 * change / before if before else None, spread)
