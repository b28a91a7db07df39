"""Two strategies on the same seeds: tests, intervals, and who wins how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 10_000


@dataclass(frozen=True)
class Paired:
    """A strategy against plain training, seed by seed.

    Args:
        difference: Mean of the differences.
        interval: Bootstrap interval of that mean at 95 %, over seeds; None for one seed.
        p: Two-sided p-value of the paired t-test, 1 where no seed differs; None for one seed, and
            where all differ alike, so that there is no spread to test by.
        wins: Seeds on which the strategy is better.
        ties: Seeds on which both are equal.
        losses: Seeds on which plain training is better.
    """

    difference: float
    interval: tuple[float, float] | None
    p: float | None
    wins: int
    ties: int
    losses: int


def paired(own: Sequence[float], plain: Sequence[float], smaller: bool = False) -> Paired:
    """Compare two series of the same seeds, in the same order.

    Args:
        own: Values of the strategy, ``[n]``.
        plain: Values of plain training, ``[n]``.
        smaller: Whether a smaller value is better.

    Raises:
        ValueError: There is no seed, or the two differ in their number.
    """
    if not own or len(own) != len(plain):
        raise ValueError("a comparison needs the same seeds of both, and at least one")
    differences = np.subtract(own, plain)
    better = -differences if smaller else differences
    interval = p = None
    if len(own) > 1:
        found = stats.bootstrap(
            (differences,),
            np.mean,
            method="percentile",
            n_resamples=DRAWS,
            random_state=np.random.default_rng(0),
        ).confidence_interval
        interval = (float(found.low), float(found.high))
        if not differences.any():
            p = 1.0
        elif np.ptp(differences) > 1e-9 * np.abs(differences).max():
            p = float(stats.ttest_rel(own, plain).pvalue)
    return Paired(
        float(differences.mean()),
        interval,
        p,
        int((better > 0).sum()),
        int((better == 0).sum()),
        int((better < 0).sum()),
    )


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method; the order stays.

    The k-th smallest of m, from 0, is multiplied by m - k; none is smaller than one before it, and
    none is above 1.
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
