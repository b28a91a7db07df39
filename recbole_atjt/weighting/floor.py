r"""The share of noise in clicks, by how often drawn items fit their neighbours as clicks do.

Where clicks are a mixture of clean ones and of noise that is drawn by frequency, the ratio of
observed clicks to drawn items is

.. math:: \frac{p_o}{f} = e + (1 - e) \, e^{c(x)}

with x what their neighbours say. However seldom clean clicks fit so badly, the ratio does not fall
below e. A logistic regression of being a click with that floor, and c a polynomial of second degree
in the lift, finds e.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu

from recbole_atjt.weighting.co_occurrence import Clicks, Counts, WeighedClicks, some_users
from recbole_atjt.weighting.neighbors import Sample, lifts_of, popularity_of

#: Smaller shares may be what the polynomial does not fit.
_WORTH = 0.15
#: Neighbours must tell clean clicks from drawn items by this AUROC, at least, to say anything.
_TELLING = 0.7
#: There is no noise where the share is below this, and neighbours tell by this AUROC: noise that is
#: drawn otherwise makes them tell less.
_NONE, _SURE = 0.05, 0.8
_STARTS = (0.05, 0.3)
_RIDGE = 1e-4
_SEED = 20263
_LARGEST = 40.0


@dataclass(frozen=True)
class Floor:
    """What neighbours show of noise.

    Args:
        share: Of noise that is drawn by frequency, as far as it is seen.
        telling: How well they tell clean clicks from drawn items, an AUROC.
    """

    share: float
    telling: float

    @property
    def noise(self) -> float:
        """The share of noise, and 0 where it is too small, or the neighbours tell too little."""
        return self.share if self.share >= _WORTH and self.telling >= _TELLING else 0.0

    @property
    def shows_none(self) -> bool:
        """Whether there is hardly any noise, however drawn."""
        return self.share < _NONE and self.telling >= _SURE


def floor_of(clicks: Clicks, n_items: int) -> Floor:
    """Find how much noise neighbours show.

    Args:
        clicks: The clicks.
        n_items: Number of items, the padding included.
    """
    every = WeighedClicks.of(clicks)
    counts = [Counts.of(every, n_items)]
    generator = torch.Generator().manual_seed(_SEED)
    some = every.within(some_users(every.user, generator))
    sample = Sample.drawn(counts, some, lifts_of(counts, some, None, own=True), generator)
    if not len(sample.lift):
        return Floor(0.0, 0.5)
    popular = popularity_of(clicks, n_items)[sample.item].numpy()
    lift, label = sample.lift.squeeze(1).numpy(), sample.is_click.numpy()
    share, log_clean = _fitted(np.stack((lift, popular, popular * lift, lift**2), axis=1), label)
    above = mannwhitneyu(log_clean[label], log_clean[~label]).statistic
    score = float(above) / (label.sum() * (~label).sum())  # AUROC
    return Floor(share, float(0.5 + (score - 0.5) / max(1 - share, 1e-9)))


def _fitted(features: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
    """Return e and c of a regression with a floor, ``[n]``.

    Args:
        features: ``[n, F]``.
        label: True or False, as many of each, ``[n]``.
    """
    spread = features.std(0)
    spread[spread < 1e-9] = 1.0
    scaled = np.column_stack((np.ones(len(features)), (features - features.mean(0)) / spread))

    def loss(known: np.ndarray) -> tuple[float, np.ndarray]:
        factor, share = known[:-1], expit(known[-1])
        clean = np.exp(np.clip(scaled @ factor, -_LARGEST, _LARGEST))
        ratio = share + (1 - share) * clean
        losses = np.log1p(np.where(label, 1 / ratio, ratio))
        slope = np.where(label, -1 / (ratio * (1 + ratio)), 1 / (1 + ratio)) / len(label)
        of_factor = scaled.T @ (slope * (1 - share) * clean)
        of_factor[1:] += 2 * _RIDGE * factor[1:]
        of_share = (slope * (1 - clean)).sum() * share * (1 - share)
        return losses.mean() + _RIDGE * (factor[1:] ** 2).sum(), np.append(of_factor, of_share)

    zeros = np.zeros(scaled.shape[1])
    starts = [np.append(zeros, logit(share)) for share in _STARTS]
    tried = [minimize(loss, start, jac=True, method="L-BFGS-B") for start in starts]
    best = min(tried, key=lambda each: each.fun).x
    return float(expit(best[-1])), scaled @ best[:-1]
