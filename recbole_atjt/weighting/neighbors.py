"""What other users say of a click: how often they clicked on its item near its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import (
    Clicks,
    Counts,
    Table,
    WeighedClicks,
    key_of,
    one_block,
)
from recbole_atjt.weighting.resemblance import Resemblance, shuffled

#: How often all is counted: once, and again with what is known of the clicks by then.
_ROUNDS = 2
#: The least likely clicks, as a part of all; what they show of the share of noise, at most.
_LEAST, _MOST_NOISE = 0.02, 0.6
#: Clicks at most that the regression reads, all of one block.
_READ = 2**15
#: Where the regression may bend, as quantiles of the lift.
_BENDS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95)
_RIDGE = 1e-4
_SEED = 20261


#: Draws another click for each of users ``[B]``, as its place, each once.
Draw = Callable[[Tensor, torch.Generator], Tensor]


class Fit(Protocol):
    """Says how well items fit beside the clicks in whose places they stand."""

    @property
    def n_items(self) -> int:
        """Number of items, the padding included."""

    def lifts(self, clicks: WeighedClicks, source: Tensor | None, own: bool) -> Tensor:
        """Say it, see :meth:`Counts.lifts`, ``[T]``."""


def anywhere(user: Tensor, generator: torch.Generator) -> Tensor:
    """Draw another click for each, as its place, ``[B]``, each once."""
    return torch.randperm(len(user), generator=generator)


class Neighbors:
    r"""Tells clicks from drawn items by the clicks beside them, without any training.

    The lift of a click on y is how much more often than by chance y stands near its neighbours v
    *in the clicks of other users*:

    .. math:: lift(y) = \frac{\sum_v k_v \log\frac{n_{yv} + 1}{n_y n_v / n + 1}}{\sum_v k_v},
        \quad k_v = e^{-|distance| / 3}

    n are sums of k over pairs of neighbours, less those of the click's own user. Few pairs of items
    are ever found together; so clicks further off may speak, too, by how much their items resemble
    y (:class:`~recbole_atjt.weighting.resemblance.Resemblance`). A logistic regression tells clicks
    from the items of other clicks that were drawn into their places, from all that and frequency f;
    its log-odds are :math:`\log p_o(y | neighbours) - \log f(y)` of observed clicks. Of drawn items
    the counts are less those of the user that each is from, too: as if both had clicked on nothing,
    so that where clicks depend on nothing they can't be told from drawn ones. No click speaks for
    itself, as it does in the likelihood of a model trained on it.

    Where only noise is left, :math:`p_o / f` is its share: that of the least likely clicks gives a
    first probability of being clean, with which all is counted once more, so that noise counts
    less as a neighbour.

    Args:
        clicks: The clicks that are counted and read.
        n_items: Number of items, the padding included.
        resemblance: Whether clicks further off speak, too.
    """

    def __init__(self, clicks: Clicks, n_items: int, resemblance: bool = False) -> None:
        self.clicks, self.n_items, self.resemblance = clicks, n_items, resemblance
        self._others: Clicks | None = None
        self._table: Table | None = None

    def know(self, clicks: Clicks) -> None:
        """Speak of the clicks of other users, of whom nothing is counted."""
        self._others, self._table = clicks, None

    def log_ratio(self, user: Tensor, item: Tensor) -> Tensor:
        r"""Return :math:`\log p_o(y | neighbours) - \log f(y)` of clicks, ``[S]``.

        NaN where a click is not known, or has no neighbour.

        Args:
            user: ``[S]``.
            item: ``[S]``.
        """
        if self._table is None:
            self._table = self._read()
        return self._table.found(key_of(user, item, self.n_items), torch.nan)

    def _read(self) -> Table:
        """Return the ratios of the clicks, by the keys of their user and item."""
        known = [WeighedClicks.of(each) for each in (self.clicks, self._others) if each is not None]
        for _ in range(_ROUNDS):
            own = known[0]
            fits: list[Fit] = [Counts.of(own, self.n_items)]
            if self.resemblance:
                fits.append(Resemblance.of(own, self.n_items))
            lifts = [lifts_of(fits, each, None, own=each is own) for each in known]
            generator = torch.Generator().manual_seed(_SEED)
            block = one_block(own.user, generator)
            reading = Reading.of(fits, own, block, lifts[0][block], generator, self._draw)
            ratios = [reading.log_ratio(lift, each.item) for lift, each in zip(lifts, known)]
            share = _least(ratios[0])
            known = [each.weighed(ratio, share) for each, ratio in zip(known, ratios)]
        return self._by_key(known[-1], ratios[-1])

    @property
    def _draw(self) -> Draw:
        """How drawn items are chosen."""
        return shuffled if self.resemblance else anywhere

    def _by_key(self, clicks: WeighedClicks, ratio: Tensor) -> Table:
        """Return the mean ratio of the clicks of each key."""
        known = ~ratio.isnan()
        key = key_of(clicks.user, clicks.item, self.n_items)[known]
        keys, place = torch.unique(key, return_inverse=True)
        total = ratio.new_zeros(len(keys)).index_add_(0, place, ratio[known])
        return Table(keys, (total / torch.bincount(place, minlength=len(keys))).float())


def lifts_of(
    fits: Sequence[Fit], clicks: WeighedClicks, source: Tensor | None, own: bool
) -> Tensor:
    """Return what each says, see :meth:`Counts.lifts`, ``[T, L]``."""
    return torch.stack([each.lifts(clicks, source, own) for each in fits], dim=1)


def popularity_of(clicks: Clicks, n_items: int) -> Tensor:
    """Return the logarithm of each item's clicks, half a one added, ``[n_items]`` float64."""
    return (torch.bincount(clicks.item, minlength=n_items).double() + 0.5).log()


def _least(ratio: Tensor) -> float:
    """Return the share of noise that the least likely clicks show, of log-ratios ``[T]``."""
    known = ratio[~ratio.isnan()].numpy()
    return min(_MOST_NOISE, float(np.exp(np.quantile(known, _LEAST)))) if len(known) else 0.0


@dataclass(frozen=True)
class Sample:
    """Clicks, and as many items of other clicks in their places.

    Args:
        lift: ``[n, L]``.
        item: ``[n]``.
        is_click: Whether it is one, ``[n]``.
    """

    lift: Tensor
    item: Tensor
    is_click: Tensor

    @classmethod
    def drawn(
        cls,
        fits: Sequence[Fit],
        clicks: WeighedClicks,
        lift: Tensor,
        generator: torch.Generator,
        draw: Draw = anywhere,
    ) -> Sample:
        """Draw it from the clicks of a block, with their lifts, ``[B, L]``."""
        source = draw(clicks.user, generator)
        some = torch.randperm(len(lift), generator=generator)[:_READ]
        some = some[~lift[some].isnan().any(1)]
        lift_of_drawn = lifts_of(fits, clicks, source, own=True)[some]
        item = torch.cat((clicks.item[some], clicks.item[source][some]))
        is_click = torch.arange(2 * len(some)) < len(some)
        return cls(torch.cat((lift[some], lift_of_drawn)), item, is_click)


@dataclass(frozen=True)
class Reading:
    """A regression of being a click, not drawn by frequency, on lift and frequency of its item.

    Args:
        bends: Where it bends, ``[7, L]``.
        popularity: Logarithm of each item's clicks, ``[n_items]``.
        factor: Of each feature, ``[F]``.
    """

    bends: Tensor
    popularity: Tensor
    factor: Tensor

    @classmethod
    def of(
        cls,
        fits: Sequence[Fit],
        clicks: WeighedClicks,
        block: slice | Tensor,
        lift: Tensor,
        generator: torch.Generator,
        draw: Draw = anywhere,
    ) -> Reading:
        """Learn it.

        Args:
            fits: What the lifts are from.
            clicks: Those that were counted.
            block: Which of them are read.
            lift: Theirs, of the block, ``[B, L]``.
            generator: Draws the items that they are told from.
            draw: How, from clicks of users, ``[B]``.
        """
        popularity = popularity_of(clicks, fits[0].n_items)
        sample = Sample.drawn(fits, clicks.within(block), lift, generator, draw)
        if not len(sample.lift):
            none = torch.zeros(2 + len(fits) * (2 + len(_BENDS)), dtype=torch.float64)
            return cls(none.new_zeros(len(_BENDS), len(fits)), popularity, none)
        quantiles = torch.tensor(_BENDS, dtype=torch.float64)
        bends = torch.quantile(sample.lift, quantiles, dim=0)
        reading = cls(bends, popularity, bends[:0, 0])
        features = reading._features(sample.lift, sample.item)
        factor = _regressed(features.numpy(), sample.is_click.double().numpy())
        return replace(reading, factor=torch.from_numpy(factor))

    def _features(self, lift: Tensor, item: Tensor) -> Tensor:
        popularity = self.popularity[item].unsqueeze(1)
        bent = [(lift - bend).clamp_min(0.0) for bend in self.bends]
        return torch.cat(
            [torch.ones_like(popularity), lift, *bent, popularity, popularity * lift], dim=1
        )

    def log_ratio(self, lift: Tensor, item: Tensor) -> Tensor:
        """Return the log-odds, ``[T]``."""
        found: Tensor = self._features(lift, item) @ self.factor
        return found


def _regressed(features: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the factors of a logistic regression, the first one its constant, ``[F]``.

    Args:
        features: ``[n, F]``, the first of them 1.
        label: 1 or 0, as many of each, ``[n]``.
    """
    mean, spread = features.mean(0), features.std(0)
    spread[spread < 1e-9] = 1.0
    mean[0] = 0.0
    scaled = (features - mean) / spread

    def loss(factor: np.ndarray) -> tuple[float, np.ndarray]:
        logit = scaled @ factor
        losses = np.logaddexp(0.0, logit) - label * logit
        slope = scaled.T @ (expit(logit) - label) / len(label)
        return losses.mean() + _RIDGE * (factor**2).sum(), slope + 2 * _RIDGE * factor

    found = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x / spread
    found[0] -= mean @ found
    factor: np.ndarray = found
    return factor
