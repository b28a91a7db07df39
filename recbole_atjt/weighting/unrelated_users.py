"""Users whose clicks have nothing to do with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import isotonic_regression, lsq_linear
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks, Counts, Table, WeighedClicks, some_users
from recbole_atjt.weighting.neighbors import Reading

#: Clicks with neighbours that a user needs to be tested.
_CLICKS = 4
#: A share of unrelated users below this is none, two standard errors taken off; and one as large as
#: this says that the clicks at hand tell nothing.
_WORTH, _MOST = 0.05, 0.6
#: Where this part of all other users is not beyond so many standard deviations, clicks are too few
#: to tell related from unrelated ones;
_APART, _BEYOND = 0.75, 2.0
#: nor are the users of that share a group of their own where users stand closer, by this factor, in
#: this part of random ones above their median than below it.
_RISING = 1.5
_ABOVE = (0.5, 0.8)
#: Where the distance from random users is cut into bins.
_EDGES = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_SEED = 20262


@dataclass(frozen=True)
class _Users:
    """What their neighbours say of users' clicks on the mean, of users with enough of them.

    Args:
        user: Ids, ascending, ``[U]``.
        mean: Mean log-ratio of their clicks, ``[U]``.
        clicks: How many of them have neighbours, ``[U]``.
    """

    user: np.ndarray
    mean: np.ndarray
    clicks: np.ndarray

    @classmethod
    def of(cls, user: Tensor, ratio: Tensor) -> _Users:
        """Gather log-ratios of clicks ``[T]``, NaN where nothing is known."""
        known = ~ratio.isnan()
        users, place = torch.unique(user, return_inverse=True)
        clicks = torch.bincount(place[known], minlength=len(users))
        total = ratio.new_zeros(len(users)).index_add_(0, place[known], ratio[known])
        enough = clicks >= _CLICKS
        mean = total[enough] / clicks[enough]
        return cls(users[enough].numpy(), mean.numpy(), clicks[enough].numpy())


class UnrelatedUsers:
    r"""Tells users whose clicks do not depend on each other from all others, without any training.

    For each user a random one is drawn, who has as many clicks, each on the item of another click,
    with neighbours drawn likewise. What neighbours in other users' clicks say
    (:class:`~recbole_atjt.weighting.neighbors.Neighbors`, counted once) has a mean over a user's
    clicks; its distance from that of random users, in standard deviations that shrink with the
    number of clicks, is a test of whether anything in them depends on anything. Users who click at
    random are as far below their median as above, and hardly any others are. So twice the users
    below it are the share of such users (Storey 2002), if no more stand above it than that; the
    probability of being one is its share times the density of random users by that of all, never
    rising with the distance.

    Args:
        clicks: The clicks that are counted and tested.
        n_items: Number of items, the padding included.
        others: Clicks of other users to speak of, of whom nothing is counted.
    """

    def __init__(self, clicks: Clicks, n_items: int, others: Clicks | None = None) -> None:
        every = WeighedClicks.of(clicks)
        generator = torch.Generator().manual_seed(_SEED)
        counts = Counts.of(every, n_items)
        chosen = some_users(every.user, generator)
        some = every.within(chosen)
        lift = counts.lifts(some, None, own=True)
        reading = Reading.of([counts], every, chosen, lift.unsqueeze(1), generator)
        source = torch.randperm(len(some.item), generator=generator)
        of_random = counts.lifts(some, source, own=True, beside=source)
        drawn = _Users.of(some.user, reading.log_ratio(of_random.unsqueeze(1), some.item[source]))
        users, usual = (
            _Users.of(some.user, reading.log_ratio(lift.unsqueeze(1), some.item)),
            _Usual.of(drawn),
        )
        #: Share of users that are unrelated; 0 where there are none.
        self.share, unrelated = _tested(usual.distance(users), usual.distance(drawn))
        tables = [(torch.zeros(0, dtype=torch.long), torch.zeros(0))]
        if self.share:
            known = [(every, True)] if others is None else [(every, True), (others, False)]
            for each, own in known:
                lift = counts.lifts(WeighedClicks.of(each), None, own)
                users = _Users.of(each.user, reading.log_ratio(lift.unsqueeze(1), each.item))
                sound = 1.0 - unrelated[np.digitize(usual.distance(users), _EDGES)]
                tables.append((torch.from_numpy(users.user), torch.from_numpy(sound).float()))
        self._table = Table.of(*(torch.cat(both) for both in zip(*tables)))

    def sound(self, user: Tensor) -> Tensor:
        """Return the probability of users that their clicks are related, 1 if unknown, ``[S]``.

        Args:
            user: Ids, ``[S]``.
        """
        return self._table.found(user.long(), 1.0)


@dataclass(frozen=True)
class _Usual:
    """The means of random users: their mean and their variance, ``a + b / clicks`` each.

    What is said of a click bends with its lift, and lifts of users with few clicks scatter more.
    """

    mean: tuple[float, float]
    variance: tuple[float, float]

    @classmethod
    def of(cls, drawn: _Users) -> _Usual:
        """Find them."""
        mean, clicks = drawn.mean, drawn.clicks
        if not len(mean):
            return cls((0.0, 0.0), (1.0, 0.0))
        parts = np.stack((np.ones(len(mean)), 1 / clicks), axis=1)
        root = np.sqrt(clicks)
        middle = np.linalg.lstsq(parts * root[:, None], mean * root, rcond=None)[0]
        # Squares of users with few clicks scatter most.
        # Where all have as many, the parts are one and the same, at which nnls may fail.
        squares = (mean - parts @ middle) ** 2 * clicks
        variance = lsq_linear(parts * clicks[:, None], squares, bounds=(0, np.inf), method="bvls").x
        return cls((float(middle[0]), float(middle[1])), (float(variance[0]), float(variance[1])))

    def distance(self, users: _Users) -> np.ndarray:
        """Return how far users are above random ones, in standard deviations, ``[U]``."""
        mean = self.mean[0] + self.mean[1] / users.clicks
        variance = self.variance[0] + self.variance[1] / users.clicks
        distance: np.ndarray = (users.mean - mean) / np.sqrt(np.maximum(variance, 1e-12))
        return distance


def _tested(users: np.ndarray, random: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the share of unrelated users, and their share in each bin of distances, ``[bins]``.

    Args:
        users: Distances of users, ``[U]``.
        random: Distances of random users, ``[R]``.
    """
    bins = len(_EDGES) + 1
    none = 0.0, np.zeros(bins)
    if not len(users):
        return none
    low, high = np.quantile(random, _ABOVE)
    below = float(np.mean(users < low))
    share = below / _ABOVE[0]
    error = np.sqrt(below * (1 - below) / len(users)) / _ABOVE[0]
    above = float(np.mean((users >= low) & (users < high))) / (_ABOVE[1] - _ABOVE[0])
    apart = float(np.mean(users > _BEYOND)) - share * float(np.mean(random > _BEYOND))
    related = apart / max(1 - share, 1e-9)
    found = share - 2 * error >= _WORTH and share < _MOST
    if not found or above > _RISING * share or related < _APART:
        return none
    of_random = np.bincount(np.digitize(random, _EDGES), minlength=bins) / len(random)
    of_users = np.bincount(np.digitize(users, _EDGES), minlength=bins)
    part = share * of_random * len(users) / np.maximum(of_users, 1)
    falling = isotonic_regression(part, weights=np.maximum(of_users, 1), increasing=False).x
    return share, np.clip(falling, 0.0, 1.0)
