"""How much of what knowing the noise is worth a strategy wins: the figure that compares methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_DRAWS = 10_000


@dataclass(frozen=True)
class Headroom:
    """What an oracle gains, and the part of it that a strategy recovers.

    Args:
        gain: Mean gain of the oracle over plain training.
        error: Standard error of that gain over seeds; NaN for one seed.
        recovered: ``(strategy - none) / (oracle - none)`` of the means.
        interval: Bootstrap interval of it at 95 %, over seeds; None for one seed.
    """

    gain: float
    error: float
    recovered: float
    interval: tuple[float, float] | None

    @property
    def is_known(self) -> bool:
        """Whether the oracle gains more than its own standard error."""
        return self.gain > 0 and not self.gain <= self.error

    def __str__(self) -> str:
        if not self.is_known:
            return f"none to recover (oracle {self.gain:+.4f} ± {self.error:.4f})"
        if self.interval is None:
            return f"{self.recovered:.0%}"
        low, high = self.interval
        return f"{self.recovered:.0%} ({low:.0%} to {high:.0%})"


def headrooms(runs: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the headroom of every strategy that ran beside ``none`` and ``oracle``.

    Args:
        runs: Results of any models, datasets, strategies and seeds; of each model and dataset the
            test values, on common seeds, of the metric that selected the epochs are compared.

    Returns:
        ``model``, ``dataset``, ``weighting``, ``metric``, ``seeds``, ``oracle_gain``,
        ``oracle_error``, ``recovered`` and ``interval``; the latter two are None where the oracle
        gains no more than its standard error.
    """
    found = []
    for model, dataset in dict.fromkeys((run.model, run.dataset) for run in runs):
        mine = [run for run in runs if (run.model, run.dataset) == (model, dataset)]
        metric = str(mine[0].config.get("valid_metric", "")).lower()
        values = _by_strategy(mine, metric)
        for name in values:
            if name in ("none", "oracle") or not {"none", "oracle"} <= values.keys():
                continue
            seeds = sorted(values[name].keys() & values["none"].keys() & values["oracle"].keys())
            if not seeds:
                continue
            none, own, oracle = (
                [values[of][seed] for seed in seeds] for of in ("none", name, "oracle")
            )
            room = headroom(none, own, oracle)
            found.append(
                {
                    "model": model,
                    "dataset": dataset,
                    "weighting": name,
                    "metric": metric,
                    "seeds": seeds,
                    "oracle_gain": room.gain,
                    "oracle_error": room.error,
                    "recovered": room.recovered if room.is_known else None,
                    "interval": room.interval if room.is_known else None,
                    "text": str(room),
                }
            )
    return found


def _by_strategy(runs: Sequence[Any], metric: str) -> dict[str, dict[int, float]]:
    """Return the test value of each strategy's seeds, where it has the metric."""
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        if metric in run.test:
            values.setdefault(run.weighting, {})[run.seed] = run.test[metric]
    return values


def headroom(
    none: Sequence[float], strategy: Sequence[float], oracle: Sequence[float], seed: int = 0
) -> Headroom:
    """Compare a strategy with plain training and the oracle on the same seeds.

    Args:
        none: A metric, higher is better, of plain training, one value a seed.
        strategy: The same of the strategy, in the same order of seeds.
        oracle: The same of the oracle.
        seed: Seed of the bootstrap, which draws seeds with replacement, the three runs together.

    Raises:
        ValueError: There is no seed, or the three differ in their number.
    """
    runs = np.array([none, strategy, oracle], dtype=np.float64)
    count = runs.shape[1]
    if not count:
        raise ValueError("headroom needs at least one seed")
    gains = runs[2] - runs[0]
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    recovered = float((runs[1] - runs[0]).mean() / gain) if gain else float("nan")
    interval = None
    if count > 1:
        drawn = np.random.default_rng(seed).integers(count, size=(_DRAWS, count))
        means = runs[:, drawn].mean(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (means[1] - means[0]) / (means[2] - means[0])
        low, high = np.nanpercentile(np.where(np.isfinite(ratio), ratio, np.nan), [2.5, 97.5])
        interval = (float(low), float(high))
    return Headroom(gain, error, recovered, interval)
