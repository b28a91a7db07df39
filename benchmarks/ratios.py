"""Times of variants that run one after another, in rounds, as ratios."""

from __future__ import annotations

from statistics import median

#: Seconds of the clock and of the processor, of each round.
Rounds = list[tuple[float, float]]


def ratio(spent: Rounds, base: Rounds, kind: int) -> float:
    """Return the median of the rounds' ratios, of the clock (0) or of the processor (1)."""
    return round(median(one[kind] / other[kind] for one, other in zip(spent, base)), 3)
