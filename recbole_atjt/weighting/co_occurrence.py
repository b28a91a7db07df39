"""Which items stand near each other in users' clicks, and how much more often than by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

#: Counts that are added to what is expected and to what is found, so that rare pairs say little.
_PRIOR = 1.0
#: What a click counts at least.
_LEAST_CLEAN = 0.02
#: Clicks at most whose neighbours are counted: of larger data every so many users.
_COUNTED = 2_000_000
#: Clicks that are looked at where some say enough, about, all of their users.
_TESTED = 2**16
#: Clicks of a block that is worked on at once, at least; a user is in one block.
_BLOCK = 2**17


@dataclass(frozen=True)
class Scale:
    """How far apart clicks of a user are neighbours.

    Args:
        reach: Clicks before and after a click that are its neighbours.
        near: Distance over which a neighbour's say falls to a third.
    """

    reach: int
    near: float

    def say(self, distance: int) -> float:
        """Return how much a neighbour has to say, 1 at a distance of none."""
        return float(np.exp(-distance / self.near))


CLOSE, FAR = Scale(10, 3.0), Scale(30, 10.0)


@dataclass(frozen=True)
class Clicks:
    """Clicks of users, equal users side by side, each user's in the order of time.

    Args:
        user: ``[T]`` int64.
        item: ``[T]`` int64.
    """

    user: Tensor
    item: Tensor


@dataclass(frozen=True)
class WeighedClicks(Clicks):
    """Clicks, and how much each counts as a neighbour, ``[T]`` float64."""

    weight: Tensor

    @classmethod
    def of(cls, clicks: Clicks) -> WeighedClicks:
        """Let all count alike."""
        return cls(clicks.user, clicks.item, torch.ones(len(clicks.item), dtype=torch.float64))

    def within(self, block: slice | Tensor) -> WeighedClicks:
        """Return those of a block, or those chosen."""
        return WeighedClicks(self.user[block], self.item[block], self.weight[block])

    def weighed(self, ratio: Tensor, share: float) -> WeighedClicks:
        """Let each count as it is likely to be clean where ``share`` of all is noise."""
        clean = (1 - share * torch.exp(-ratio)).clamp(_LEAST_CLEAN, 1.0)
        return replace(self, weight=torch.where(ratio.isnan(), 1.0, clean))


@dataclass(frozen=True)
class _Pairs:
    """Neighbouring clicks of a block: their places in it, and how near they are, ``[P]`` each."""

    one: Tensor
    other: Tensor
    near: Tensor

    @classmethod
    def of(cls, user: Tensor, scale: Scale) -> _Pairs:
        """Find those of clicks ``[B]``."""
        parts = []
        for distance in range(1, min(scale.reach, len(user) - 1) + 1):
            one = (user[:-distance] == user[distance:]).nonzero().squeeze(1)
            near = torch.full((len(one),), scale.say(distance), dtype=torch.float64)
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
class Counts:
    """How near which items stand to each other, and to all.

    Args:
        keys: Of each pair of items that is found, sorted, ``[K]``.
        together: Its sum of k, ``[K]``.
        alone: That of all pairs with an item, ``[n_items]``.
        step: Of how many users one is counted.
        scale: Which clicks are neighbours.
    """

    keys: Tensor
    together: Tensor
    alone: Tensor
    step: int
    scale: Scale

    @property
    def n_items(self) -> int:
        """Number of items, the padding included."""
        return len(self.alone)

    @classmethod
    def of(cls, clicks: WeighedClicks, n_items: int, scale: Scale = CLOSE) -> Counts:
        """Count."""
        step = max(1, -(-len(clicks.user) // _COUNTED))
        alone = torch.zeros(n_items, dtype=torch.float64)
        found = [(torch.zeros(0, dtype=torch.long), alone[:0])]
        for block in blocks(clicks.user):
            counted = clicks.user[block] % step == 0
            user, item, weight = (
                each[block][counted] for each in (clicks.user, clicks.item, clicks.weight)
            )
            pairs = _Pairs.of(user, scale)
            one, other = item[pairs.one], item[pairs.other]
            mass = pairs.mass(weight)
            alone.index_add_(0, one, mass).index_add_(0, other, mass)
            found.append(_summed(_key(one, other, n_items), mass))
        keys, together = (torch.cat(each) for each in zip(*found))
        return cls(*_summed(keys, together), alone, step, scale)

    def lifts(
        self, clicks: WeighedClicks, source: Tensor | None, own: bool, beside: Tensor | None = None
    ) -> Tensor:
        """Return the lift of items in the places of clicks, NaN without neighbours, ``[T]``.

        What the users of item and neighbour have added to the counts is taken out of them.

        Args:
            clicks: Neighbours are theirs.
            source: Where the items are from, as places of the clicks, which are then worked on at
                once, ``[T]``; None for the clicks' own.
            own: Whether these clicks were counted.
            beside: Where the neighbours are from, as ``source``; None for the clicks' own.
        """
        found = [self.together[:0]]
        for block in blocks(clicks.user) if source is None else [slice(len(clicks.user))]:
            user, item, weight = (each[block] for each in (clicks.user, clicks.item, clicks.weight))
            pairs = _Pairs.of(user, self.scale)
            taken = _Taken.of(self, user, item, pairs, weight * own)
            if source is None:
                lift = self._lift(item, taken, pairs.one, pairs.other)
                found.append(pairs.mean(lift, lift, weight))
                continue
            there = torch.arange(len(item)) if beside is None else beside
            of_one = self._lift(item, taken, there[pairs.other], source[pairs.one])
            of_other = self._lift(item, taken, there[pairs.one], source[pairs.other])
            found.append(pairs.mean(of_one, of_other, weight))
        return torch.cat(found)

    def place(self, one: Tensor, other: Tensor) -> Tensor:
        """Return where pairs of items are among the keys, K where they are not, ``[P]``."""
        return _place(self.keys, _key(one, other, self.n_items))

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
        together = together - taken.of_pair(mine, place)
        alone_one = alone_one - taken.own[there]
        total = total - taken.of_all[mine]
        if torch.equal(mine, theirs):
            alone_other = alone_other - taken.own[here]
        else:
            part = (mine != theirs).double()
            together = together - part * taken.of_pair(theirs, place)
            alone_one = alone_one - part * taken.of_item(theirs, one)
            alone_other = alone_other - taken.of_item(mine, other) - part * taken.own[here]
            total = total - part * taken.of_all[theirs]
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
        own: Of each click's user and item, ``[B]``.
        of_all: Sums of users, ``[users]``.
        sizes: Numbers of pairs and of items that there are.
    """

    who: Tensor
    pairs: tuple[Tensor, Tensor]
    items: tuple[Tensor, Tensor]
    own: Tensor
    of_all: Tensor
    sizes: tuple[int, int]

    @classmethod
    def of(
        cls, counts: Counts, user: Tensor, item: Tensor, pairs: _Pairs, weight: Tensor
    ) -> _Taken:
        """Gather it; clicks count by ``weight [B]``."""
        _, who = torch.unique_consecutive(user, return_inverse=True)
        one, other = item[pairs.one], item[pairs.other]
        counted = (user[pairs.one] % counts.step == 0).double()
        mass = pairs.mass(weight) * counted
        sizes = 1 + len(counts.keys), counts.n_items
        of_pair = who[pairs.one] * sizes[0] + counts.place(one, other)
        of_item = torch.cat((who[pairs.one] * sizes[1] + one, who[pairs.one] * sizes[1] + other))
        both = torch.cat((mass, mass))
        users = int(who[-1]) + 1 if len(who) else 0
        of_all = mass.new_zeros(users).index_add_(0, who[pairs.one], 2 * mass)
        items = _summed(of_item, both)
        own = found_in(items, who * sizes[1] + item)
        return cls(who, _summed(of_pair, mass), items, own, of_all, sizes)

    def of_pair(self, who: Tensor, place: Tensor) -> Tensor:
        """Return what users have added to pairs at a place among the counts' keys, ``[P]``."""
        return found_in(self.pairs, who * self.sizes[0] + place)

    def of_item(self, who: Tensor, item: Tensor) -> Tensor:
        """Return what users have added to items, ``[P]``."""
        return found_in(self.items, who * self.sizes[1] + item)


def _place(keys: Tensor, key: Tensor) -> Tensor:
    """Return where keys are among sorted ones ``[K]``, K where they are not, ``[P]``."""
    if not len(keys):
        return torch.zeros_like(key)
    ordered, order = key.sort()  # what lies side by side is found in half of the time
    place = torch.searchsorted(keys, ordered).clamp_max_(len(keys) - 1)
    place.masked_fill_(keys[place] != ordered, len(keys))
    return torch.empty_like(place).scatter_(0, order, place)


def _padded(values: Tensor, missing: float = 0.0) -> Tensor:
    """Return values ``[K]`` with one more, for what is not among their keys, ``[K + 1]``."""
    return torch.cat((values, values.new_full((1,), missing)))


def found_in(table: tuple[Tensor, Tensor], key: Tensor, missing: float = 0.0) -> Tensor:
    """Look keys up in sorted ones with values, ``missing`` where they are not there, ``[P]``."""
    keys, values = table
    return _padded(values, missing)[_place(keys, key)]


class Table:
    """Values by keys, looked up on the device of what is asked.

    Args:
        keys: Distinct ones, ascending, ``[K]`` int64.
        values: Theirs, ``[K]``.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    @classmethod
    def of(cls, keys: Tensor, values: Tensor) -> Table:
        """Sort distinct keys and their values, ``[K]`` each."""
        order = keys.argsort()
        return cls(keys[order], values[order])

    def found(self, key: Tensor, missing: float) -> Tensor:
        """Return the values of keys, ``missing`` where they are not there, ``[S]``."""
        if self._keys.device != key.device:
            self._keys, self._values = self._keys.to(key.device), self._values.to(key.device)
        return found_in((self._keys, self._values), key, missing)


def key_of(user: Tensor, item: Tensor, n_items: int) -> Tensor:
    """Return a number for each user and item, as ``item``."""
    return user.long() * n_items + item


def blocks(user: Tensor) -> Iterator[slice]:
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


def one_block(user: Tensor, generator: torch.Generator) -> slice:
    """Draw one of the blocks of clicks ``[T]``, which is empty where there is none."""
    found = list(blocks(user)) or [slice(0)]
    return found[int(torch.randint(len(found), (), generator=generator))]


def some_users(user: Tensor, generator: torch.Generator) -> Tensor:
    """Choose clicks of every so-manieth user, enough to tell by; return which, ``[T]``."""
    step = max(1, -(-len(user) // _TESTED))
    first = int(torch.randint(step, (), generator=generator))
    number: Tensor = torch.unique_consecutive(user, return_inverse=True)[1]
    return number % step == first


def _key(one: Tensor, other: Tensor, n_items: int) -> Tensor:
    """Return a number for each pair of items, whatever their order, ``[P]``."""
    return torch.minimum(one, other) * n_items + torch.maximum(one, other)


def _summed(keys: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct keys, sorted, and the sum of each one's mass, ``[K]`` each."""
    distinct, place = torch.unique(keys, return_inverse=True)
    return distinct, mass.new_zeros(len(distinct)).index_add_(0, place, mass)
