"""Clicks that are known for noise before the training: of unrelated users, and repeated ones."""

from __future__ import annotations

from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.repeats import as_neighbors_read
from recbole_atjt.weighting.unrelated_repeats import UnrelatedRepeats
from recbole_atjt.weighting.unrelated_users import UnrelatedUsers

#: Clicks that are sound with less than this probability say nothing of noise in others.
_UNSOUND = 0.5


class UnrelatedClicks:
    """What neighbours in other users' clicks tell of clicks, without any training.

    Args:
        clicks: The clicks that are counted and tested.
        n_items: Number of items, the padding included.
        others: Clicks of other users to speak of, of which nothing is counted.
    """

    def __init__(self, clicks: Clicks, n_items: int, others: Clicks | None = None) -> None:
        self.repeats = UnrelatedRepeats(clicks, n_items, others)
        if others is not None:
            others = as_neighbors_read(others, n_items)
        self.users = UnrelatedUsers(self.repeats.read, n_items, others)
        #: Share of clicks that are noise; 0 where none are.
        self.share = 1 - (1 - self.users.share) * (1 - self.repeats.share)

    def shares(self) -> dict[str, float]:
        """Return the shares of users and of clicks that are noise, by name; none that is 0."""
        found = {"unrelated_users": self.users.share, "unrelated_repeats": self.repeats.share}
        return {name: share for name, share in found.items() if share}

    def sound(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the probability of clicks to be none of this noise, 1 if unknown, ``[S]``.

        Args:
            user: Ids, ``[S]``.
            item: Theirs, ``[S]``.
        """
        return self.users.sound(user) * self.repeats.sound(user, item)

    def without(self, clicks: Clicks) -> Clicks:
        """Return the clicks that are rather none of this noise."""
        kept = ~unsound(self.sound(clicks.user, clicks.item))
        return Clicks(clicks.user[kept], clicks.item[kept])


def unsound(sound: Tensor) -> Tensor:
    """Tell which clicks are rather noise, of their probabilities ``[S]``."""
    return sound < _UNSOUND
