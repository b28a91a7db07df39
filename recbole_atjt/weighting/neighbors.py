"""What other users say of a click: how often they clicked on its item near its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

#: Clicks before and after a click that are its neighbours,
_REACH = 10
#: and the distance over which a neighbour's say falls to a third.
_NEAR = 3.0
#: Counts that are added to what is expected and to what is found, so that rare pairs say little.
_PRIOR = 1.0
#: How often all is counted: once, and again with what is known of the clicks by then.
_ROUNDS = 2
#: The least likely clicks, as a part of all; what they show of the share of noise, at most;
_LEAST, _MOST_NOISE = 0.02, 0.6
#: and what a click counts at least.
_LEAST_CLEAN = 0.02
#: Clicks at most whose neighbours are counted: of larger data every so many users.
_COUNTED = 2_000_000
#: Clicks at most that the regression reads, all of one block.
_READ = 2**15
#: Clicks of a block that is worked on at once, at least; a user is in one block.
_BLOCK = 2**17
#: Where the regression may bend, as quantiles of the lift.
_BENDS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95)
_RIDGE = 1e-4
_SEED = 20261


@dataclass(frozen=True)
class Clicks:
    """Clicks of users, equal users side by side, each user's in the order of time.

    Args:
        user: ``[T]`` int64.
        item: ``[T]`` int64.
    """

    user: Tensor
    item: Tensor


class Neighbors:
    r"""Tells clicks from drawn items by the clicks beside them, without any training.

    The lift of a click on y is how much more often than by chance y stands near its neighbours v
    *in the clicks of other users*:

    .. math:: lift(y) = \frac{\sum_v k_v \log\frac{n_{yv} + 1}{n_y n_v / n + 1}}{\sum_v k_v},
        \quad k_v = e^{-|distance| / 3}

    n are sums of k over pairs of neighbours, less those of the click's own user. A logistic
    regression tells clicks from the items of other clicks that were drawn into their places, from
    lift and frequency f; its log-odds are :math:`\log p_o(y | neighbours) - \log f(y)` of observed
    clicks. Of a drawn item the counts are less those of the user that it is from, too: as if both
    had clicked on nothing, so that where clicks depend on nothing they can't be told from drawn
    ones. No click speaks for itself, as it does in the likelihood of a model trained on it.

    Where only noise is left, :math:`p_o / f` is its share: that of the least likely clicks gives a
    first probability of being clean, with which all is counted once more, so that noise counts
    less as a neighbour.

    Args:
        clicks: The clicks that are counted and read.
        n_items: Number of items, the padding included.
    """

    def __init__(self, clicks: Clicks, n_items: int) -> None:
        self.clicks, self.n_items = clicks, n_items
        self._others: Clicks | None = None
        self._table: tuple[Tensor, Tensor] | None = None

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
            keys, values = self._read()
            self._table = keys.to(item.device), values.to(item.device)
        return _found(self._table, user.long() * self.n_items + item, torch.nan)

    def _read(self) -> tuple[Tensor, Tensor]:
        """Return a key for each user and item of the clicks, sorted, and their ratios, ``[K]``."""
        known = [_Weighed.of(each) for each in (self.clicks, self._others) if each is not None]
        for _ in range(_ROUNDS):
            own = known[0]
            counts = _Counts.of(own, self.n_items)
            lifts = [counts.lifts(each, None, own=each is own) for each in known]
            reading = _Reading.of(counts, own, lifts[0])
            ratios = [reading.log_ratio(lift, each.item) for lift, each in zip(lifts, known)]
            share = _least(ratios[0])
            known = [each.weighed(ratio, share) for each, ratio in zip(known, ratios)]
        return self._by_key(known[-1], ratios[-1])

    def _by_key(self, clicks: _Weighed, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return distinct keys, and the mean ratio of each one's clicks, ``[K]`` each."""
        known = ~ratio.isnan()
        key = (clicks.user * self.n_items + clicks.item)[known]
        keys, place = torch.unique(key, return_inverse=True)
        total = ratio.new_zeros(len(keys)).index_add_(0, place, ratio[known])
        return keys, (total / torch.bincount(place, minlength=len(keys))).float()


@dataclass(frozen=True)
class _Weighed(Clicks):
    """Clicks, and how much each counts as a neighbour, ``[T]`` float64."""

    weight: Tensor

    @classmethod
    def of(cls, clicks: Clicks) -> _Weighed:
        """Let all count alike."""
        return cls(clicks.user, clicks.item, torch.ones(len(clicks.item), dtype=torch.float64))

    def within(self, block: slice) -> _Weighed:
        """Return those of a block."""
        return _Weighed(self.user[block], self.item[block], self.weight[block])

    def weighed(self, ratio: Tensor, share: float) -> _Weighed:
        """Let each count as it is likely to be clean where ``share`` of all is noise."""
        clean = (1 - share * torch.exp(-ratio)).clamp(_LEAST_CLEAN, 1.0)
        return replace(self, weight=torch.where(ratio.isnan(), 1.0, clean))


def _least(ratio: Tensor) -> float:
    """Return the share of noise that the least likely clicks show, of log-ratios ``[T]``."""
    known = ratio[~ratio.isnan()].numpy()
    return min(_MOST_NOISE, float(np.exp(np.quantile(known, _LEAST)))) if len(known) else 0.0


@dataclass(frozen=True)
class _Pairs:
    """Neighbouring clicks of a block: their places in it, and how near they are, ``[P]`` each."""

    one: Tensor
    other: Tensor
    near: Tensor

    @classmethod
    def of(cls, user: Tensor) -> _Pairs:
        """Find those of clicks ``[B]``."""
        parts = []
        for distance in range(1, min(_REACH, len(user) - 1) + 1):
            one = (user[:-distance] == user[distance:]).nonzero().squeeze(1)
            near = torch.full((len(one),), float(np.exp(-distance / _NEAR)), dtype=torch.float64)
            parts.append((one, one + distance, near))
        if not parts:
            none = torch.zeros(0, dtype=torch.long)
            return cls(none, none, none.double())
        return cls(*(torch.cat(each) for each in zip(*parts)))

    def mass(self, weight: Tensor) -> Tensor:
        """Return what pairs of clicks that count by ``weight [B]`` add to the counts, ``[P]``."""
        return self.near * weight[self.one] * weight[self.other]

    def mean(self, of_one: Tensor, of_other: Tensor, weight: Tensor) -> Tensor:
        """Return the means of what neighbours say of clicks, NaN without any, ``[B]``.

        Args:
            of_one: What is said of the first of each pair, ``[P]``.
            of_other: Of the second, ``[P]``.
            weight: How much each click counts as a neighbour, ``[B]``.
        """
        total, among = torch.zeros(2, len(weight), dtype=torch.float64)
        for place, said, by in (
            (self.one, of_one, self.other),
            (self.other, of_other, self.one),
        ):
            counts = self.near * weight[by]
            total.index_add_(0, place, counts * said)
            among.index_add_(0, place, counts)
        mean: Tensor = total / torch.where(among > 0, among, torch.nan)
        return mean


@dataclass(frozen=True)
class _Counts:
    """How near which items stand to each other, and to all.

    Args:
        keys: Of each pair of items that is found, sorted, ``[K]``.
        together: Its sum of k, ``[K]``.
        alone: That of all pairs with an item, ``[n_items]``.
        step: Of how many users one is counted.
    """

    keys: Tensor
    together: Tensor
    alone: Tensor
    step: int

    @classmethod
    def of(cls, clicks: _Weighed, n_items: int) -> _Counts:
        """Count."""
        step = max(1, -(-len(clicks.user) // _COUNTED))
        alone = torch.zeros(n_items, dtype=torch.float64)
        found = [(torch.zeros(0, dtype=torch.long), alone[:0])]
        for block in _blocks(clicks.user):
            counted = clicks.user[block] % step == 0
            user, item, weight = (
                each[block][counted] for each in (clicks.user, clicks.item, clicks.weight)
            )
            pairs = _Pairs.of(user)
            one, other = item[pairs.one], item[pairs.other]
            mass = pairs.mass(weight)
            alone.index_add_(0, one, mass).index_add_(0, other, mass)
            found.append(_summed(_key(one, other, n_items), mass))
        keys, together = (torch.cat(each) for each in zip(*found))
        return cls(*_summed(keys, together), alone, step)

    def lifts(self, clicks: _Weighed, source: Tensor | None, own: bool) -> Tensor:
        """Return the lift of items in the places of clicks, NaN without neighbours, ``[T]``.

        What the users of place and item have added to the counts is taken out of them.

        Args:
            clicks: Neighbours are theirs.
            source: Where the items are from, as places of the clicks, all in one block, ``[T]``;
                None for the clicks' own.
            own: Whether these clicks were counted.
        """
        found = [self.together[:0]]
        for block in _blocks(clicks.user):
            user, item, weight = (each[block] for each in (clicks.user, clicks.item, clicks.weight))
            pairs = _Pairs.of(user)
            taken = _Taken.of(self, user, item, pairs, weight * own)
            if source is None:
                lift = self._lift(item, taken, pairs.one, pairs.other)
                found.append(pairs.mean(lift, lift, weight))
                continue
            of_one = self._lift(item, taken, pairs.other, source[pairs.one])
            of_other = self._lift(item, taken, pairs.one, source[pairs.other])
            found.append(pairs.mean(of_one, of_other, weight))
        return torch.cat(found)

    def place(self, one: Tensor, other: Tensor) -> Tensor:
        """Return where pairs of items are among the keys, K where they are not, ``[P]``."""
        return _place(self.keys, _key(one, other, len(self.alone)))

    def _lift(self, item: Tensor, taken: _Taken, there: Tensor, here: Tensor) -> Tensor:
        """Return the logarithm of found over expected, 0 of an item and itself, ``[P]``.

        Args:
            item: Items of the block, ``[B]``.
            taken: What its users have added.
            there: Places of neighbours, ``[P]``.
            here: Places that what stands beside them is from, ``[P]``.
        """
        one, other = item[there], item[here]
        place = self.place(one, other)
        together = _padded(self.together)[place]
        alone_one, alone_other, total = self.alone[one], self.alone[other], self.alone.sum()
        mine, theirs = taken.who[there], taken.who[here]
        parts: list[tuple[Tensor, Tensor | float]] = [(mine, 1.0)]
        if not torch.equal(mine, theirs):
            parts.append((theirs, (mine != theirs).double()))
        for who, part in parts:
            together = together - part * taken.of_pair(who, place)
            alone_one = alone_one - part * taken.of_item(who, one)
            alone_other = alone_other - part * taken.of_item(who, other)
            total = total - part * taken.of_all[who]
        expected = alone_one.clamp_min(0) * alone_other.clamp_min(0) / total.clamp_min(1e-9)
        lift = ((together.clamp_min(0) + _PRIOR) / (expected + _PRIOR)).log()
        return lift.masked_fill(one == other, 0.0)


@dataclass(frozen=True)
class _Taken:
    """What each user of a block has added to the counts.

    Args:
        who: Number of each click's user in the block, ``[B]``.
        pairs: Keys of user and pair of items, sorted, and sums, ``[K]`` each.
        items: The same of user and item.
        of_all: Sums of users, ``[users]``.
        sizes: Numbers of pairs and of items that there are.
    """

    who: Tensor
    pairs: tuple[Tensor, Tensor]
    items: tuple[Tensor, Tensor]
    of_all: Tensor
    sizes: tuple[int, int]

    @classmethod
    def of(
        cls, counts: _Counts, user: Tensor, item: Tensor, pairs: _Pairs, weight: Tensor
    ) -> _Taken:
        """Gather it; clicks count by ``weight [B]``."""
        _, who = torch.unique_consecutive(user, return_inverse=True)
        one, other = item[pairs.one], item[pairs.other]
        counted = (user[pairs.one] % counts.step == 0).double()
        mass = pairs.mass(weight) * counted
        sizes = 1 + len(counts.keys), len(counts.alone)
        of_pair = who[pairs.one] * sizes[0] + counts.place(one, other)
        of_item = torch.cat((who[pairs.one] * sizes[1] + one, who[pairs.one] * sizes[1] + other))
        both = torch.cat((mass, mass))
        users = int(who[-1]) + 1 if len(who) else 0
        of_all = mass.new_zeros(users).index_add_(0, who[pairs.one], 2 * mass)
        return cls(who, _summed(of_pair, mass), _summed(of_item, both), of_all, sizes)

    def of_pair(self, who: Tensor, place: Tensor) -> Tensor:
        """Return what users have added to pairs at a place among the counts' keys, ``[P]``."""
        return _found(self.pairs, who * self.sizes[0] + place)

    def of_item(self, who: Tensor, item: Tensor) -> Tensor:
        """Return what users have added to items, ``[P]``."""
        return _found(self.items, who * self.sizes[1] + item)


def _place(keys: Tensor, key: Tensor) -> Tensor:
    """Return where keys are among sorted ones ``[K]``, K where they are not, ``[P]``."""
    if not len(keys):
        return torch.zeros_like(key)
    place = torch.searchsorted(keys, key).clamp_max(len(keys) - 1)
    return torch.where(keys[place] == key, place, len(keys))


def _padded(values: Tensor, missing: float = 0.0) -> Tensor:
    """Return values ``[K]`` with one more, for what is not among their keys, ``[K + 1]``."""
    return torch.cat((values, values.new_full((1,), missing)))


def _found(table: tuple[Tensor, Tensor], key: Tensor, missing: float = 0.0) -> Tensor:
    """Look keys up in sorted ones with values, ``missing`` where they are not there, ``[P]``."""
    keys, values = table
    return _padded(values, missing)[_place(keys, key)]


@dataclass(frozen=True)
class _Reading:
    """A regression of being a click, not drawn by frequency, on lift and frequency of its item.

    Args:
        bends: Where it bends, ``[7]``.
        popularity: Logarithm of each item's clicks, ``[n_items]``.
        factor: Of each feature, ``[F]``.
    """

    bends: Tensor
    popularity: Tensor
    factor: Tensor

    @classmethod
    def of(cls, counts: _Counts, clicks: _Weighed, lift: Tensor) -> _Reading:
        """Learn it.

        Args:
            counts: What the lifts are from.
            clicks: Those that were counted.
            lift: Theirs, ``[T]``.
        """
        frequency = torch.bincount(clicks.item, minlength=len(counts.alone)).double()
        popularity = (frequency + 0.5).log()
        generator = torch.Generator().manual_seed(_SEED)
        blocks = list(_blocks(clicks.user)) or [slice(0)]
        block = blocks[int(torch.randint(len(blocks), (), generator=generator))]
        clicks, lift = clicks.within(block), lift[block]
        source = torch.randperm(len(lift), generator=generator)
        some = torch.randperm(len(lift), generator=generator)[:_READ]
        some = some[~lift[some].isnan()]
        if not len(some):
            none = torch.zeros(4 + len(_BENDS), dtype=torch.float64)
            return cls(none[: len(_BENDS)], popularity, none)
        drawn, lift_of_drawn = clicks.item[source], counts.lifts(clicks, source, own=True)[some]
        every = torch.cat((lift[some], lift_of_drawn))
        bends = torch.quantile(every, torch.tensor(_BENDS, dtype=torch.float64))
        reading = cls(bends, popularity, bends[:0])
        features = reading._features(every, torch.cat((clicks.item[some], drawn[some])))
        label = torch.arange(len(every)) < len(some)
        factor = _regressed(features.numpy(), label.double().numpy())
        return replace(reading, factor=torch.from_numpy(factor))

    def _features(self, lift: Tensor, item: Tensor) -> Tensor:
        popularity = self.popularity[item]
        bent = [(lift - bend).clamp_min(0.0) for bend in self.bends]
        return torch.stack(
            [torch.ones_like(lift), lift, *bent, popularity, popularity * lift], dim=1
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


def _blocks(user: Tensor) -> Iterator[slice]:
    """Yield slices of clicks ``[T]`` of which none cuts a user's in two."""
    first = torch.ones(len(user), dtype=torch.bool)
    first[1:] = user[1:] != user[:-1]
    starts = first.nonzero().squeeze(1)
    low = 0
    while low < len(user):
        place = int(torch.searchsorted(starts, low + _BLOCK))
        high = int(starts[place]) if place < len(starts) else len(user)
        yield slice(low, high)
        low = high


def _key(one: Tensor, other: Tensor, n_items: int) -> Tensor:
    """Return a number for each pair of items, whatever their order, ``[P]``."""
    return torch.minimum(one, other) * n_items + torch.maximum(one, other)


def _summed(keys: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct keys, sorted, and the sum of each one's mass, ``[K]`` each."""
    distinct, place = torch.unique(keys, return_inverse=True)
    return distinct, mass.new_zeros(len(distinct)).index_add_(0, place, mass)
