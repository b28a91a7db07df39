"""What the training clicks tell of each other, before a model is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from torch import Tensor

from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.floor import floor_of
from recbole_atjt.weighting.neighbors import Neighbors
from recbole_atjt.weighting.repeats import as_neighbors_read
from recbole_atjt.weighting.unrelated_clicks import UnrelatedClicks
from recbole_atjt.weighting.unrelated_items import noise_of_unrelated_items

#: Noise that is spread by frequency, told a model that looks for all other noise by itself, is more
#: than this: .19 of uniform noise of .30 was seen to pass for such.
_MUCH = 0.22


class Asked(Enum):
    """Which noise a strategy asks for, of what it has not found itself."""

    #: That falls on some items more than on others.
    OF_ITEMS = "items"
    #: That which is spread over all items as clean clicks are, too.
    ANY = "any"
    #: None but that which is spread, and where it is much: there may be other noise.
    SPREAD = "spread"


class MetClicks:
    """Clicks that a strategy has met; what they tell is found when it is asked for, and kept.

    Args:
        n_items: Number of items, the padding included.
    """

    def __init__(self, n_items: int) -> None:
        self._n_items = n_items
        self._clicks: Callable[[], Clicks] | None = None
        self._others: Callable[[], Clicks] | None = None
        self._unrelated: UnrelatedClicks | None = None
        self._neighbors: Neighbors | None = None

    def meet(self, clicks: Callable[[], Clicks], others: bool = False) -> None:
        """Take note of the clicks of the training, or of other users to speak of."""
        self.forget()
        if others:
            self._others = clicks
        else:
            self._clicks = clicks

    def forget(self) -> None:
        """Free what was found, which is found anew when it is asked for."""
        self._unrelated = self._neighbors = None

    def unrelated(self) -> UnrelatedClicks | None:
        """Return the clicks that are known for noise; None where there are none, or none met."""
        if self._clicks is None:
            return None
        if self._unrelated is None:
            others = None if self._others is None else self._others()
            self._unrelated = UnrelatedClicks(self._clicks(), self._n_items, others)
        return self._unrelated if self._unrelated.share else None

    def noise_of_items(self, asked: Asked) -> Tensor | None:
        """Return the share of noise in the clicks on each item that neighbours show, ``[n_items]``.

        Clicks that are known for noise are left out. None where neighbours tell too little to say
        that there is none.

        Args:
            asked: Which noise counts.
        """
        if self._clicks is None:
            return None
        known, clicks = self.unrelated(), self._as_read(self._clicks)
        if known is not None:
            clicks = known.without(clicks)
        shares = noise_of_unrelated_items(clicks, self._n_items)
        if bool(shares.any()):
            return None if asked is Asked.SPREAD else shares
        floor = floor_of(clicks, self._n_items)
        if asked is not Asked.OF_ITEMS and floor.noise > (_MUCH if asked is Asked.SPREAD else 0.0):
            return shares.fill_(floor.noise)
        return shares if floor.shows_none and asked is not Asked.SPREAD else None

    def log_ratio(self, user: Tensor, item: Tensor, far: bool) -> Tensor | None:
        r"""Return what neighbours say of clicks, see :meth:`Neighbors.log_ratio`, ``[S]``.

        None where no clicks were met.

        Args:
            user: ``[S]``.
            item: ``[S]``.
            far: Whether clicks further off speak, too; what is asked first stays.
        """
        if self._clicks is None:
            return None
        if self._neighbors is None:
            self._neighbors = Neighbors(self._as_read(self._clicks), self._n_items, far)
            if self._others is not None:
                self._neighbors.know(as_neighbors_read(self._others(), self._n_items))
        return self._neighbors.log_ratio(user, item)

    def _as_read(self, clicks: Callable[[], Clicks]) -> Clicks:
        """Return the training clicks as neighbours are read of them."""
        if self._unrelated is not None:
            return self._unrelated.repeats.read
        return as_neighbors_read(clicks(), self._n_items)
