"""How well scores tell known noise, beside simple rivals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

#: Name -> what is taken for noise.
RIVALS = {
    "loss": "a large loss",
    "rare item": "a rare item",
    "popular item": "a popular item",
    "active user": "an active user",
    "inactive user": "a user of few clicks",
}


@dataclass(frozen=True)
class Figures:
    """How well values tell noise, which should have the larger ones.

    Attributes:
        auroc: The chance that noise has the larger value, ties half.
        average_precision: Mean precision over the noise found, threshold by threshold.
        precision: Precision of calling as many interactions noise as there are, those with the
            largest values; within a tie, what drawing at random is expected to give.
    """

    auroc: float
    average_precision: float
    precision: float

    @classmethod
    def of(cls, values: np.ndarray, noise: np.ndarray) -> Figures:
        """Measure values ``[n]`` by the truth ``[n]``; both classes have to be there."""
        _, place = np.unique(-values, return_inverse=True)  # the largest value first
        noisy = np.bincount(place, weights=noise)
        called = np.bincount(place).cumsum()
        found, count = noisy.cumsum(), float(noise.sum())
        last = int(np.searchsorted(called, count))
        before = (called[last - 1], found[last - 1]) if last else (0, 0.0)
        rest = (count - before[0]) * noisy[last] / (called[last] - before[0])
        ranks = rankdata(values)
        above = ranks[noise].sum() - count * (count + 1) / 2
        return cls(
            auroc=float(above / (count * (len(noise) - count))),
            average_precision=float((noisy / count * found / called).sum()),
            precision=float((before[1] + rest) / count),
        )


def known_noise(scores: pd.DataFrame) -> np.ndarray | None:
    """Return which interactions are known to be noise; None unless both kinds are known."""
    if "is_noise" not in scores:
        return None
    noise = scores["is_noise"].to_numpy() > 0
    return noise if 0 < noise.sum() < len(noise) else None


def measure(scores: pd.DataFrame) -> dict[str, Figures]:
    """Measure scores and their rivals; empty where the truth is not known.

    All rivals are of the same table: the recommender's loss as it judged, and how often the item
    and the user are in it.

    Args:
        scores: A table of scores.
    """
    noise = known_noise(scores)
    if noise is None:
        return {}
    frequency, activity = (
        scores.groupby(name)[name].transform("size").to_numpy(dtype=np.float64)
        for name in ("item", "user")
    )
    values = {
        "score": scores["score"].to_numpy(),
        "loss": scores["loss"].to_numpy(),
        "rare item": -frequency,
        "popular item": frequency,
        "active user": activity,
        "inactive user": -activity,
    }
    return {name: Figures.of(each, noise) for name, each in values.items()}
