"""Which batches are looked at for noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Clicks that are looked at in an epoch, at least: the standard error of the share is .01 then.
_CLICKS = 2**16
#: And as many for each item.
_CLICKS_OF_ITEM = 20
#: Epochs in a row without noise, after which nothing is looked at any more.
_QUIET = 2


class Looking(nn.Module):
    """Chooses batches of an epoch to look at, and rests where there is nothing to see.

    What a strategy looks at costs time, and of a large data set a part says enough. A share of
    noise that is tested on clicks trained on can only fall; where two epochs in a row find none
    above its error, training is plain to its end.

    Args:
        clicks: Clicks that a whole epoch has.
        n_items: Number of items, the padding included.
    """

    quiet: Tensor

    def __init__(self, clicks: int, n_items: int) -> None:
        super().__init__()
        self.clicks, self.enough = clicks, max(_CLICKS, _CLICKS_OF_ITEM * n_items)
        #: Epochs in a row in which no noise was found.
        self.register_buffer("quiet", torch.zeros((), dtype=torch.long))
        #: Number of the batch in its epoch that comes next.
        self.batch = 0
        #: How many batches apart those are that are looked at.
        self.apart = 1
        #: Whether nothing is learned any more; an epoch's first batch is looked at for its report.
        self.rests = False

    def start(self) -> None:
        """Begin an epoch, whose first batch is looked at."""
        self.batch, self.apart, self.rests = 0, 1, int(self.quiet) >= _QUIET

    def rest(self) -> None:
        """Look at nothing any more, from the next batch on: there is no noise."""
        self.quiet.fill_(_QUIET)
        self.rests = True

    def every(self, part: float = 1.0) -> int:
        """Return how many batches apart those are in which enough clicks are.

        Args:
            part: Part of each batch that is looked at, in (0, 1].
        """
        return max(1, int(self.clicks * part) // self.enough)

    @property
    def looks(self) -> bool:
        """Whether the next batch is looked at."""
        return self.batch % self.apart == 0 and not (self.rests and self.batch)

    def found(self, share: Tensor, error: Tensor) -> None:
        """Take in an epoch's share and its standard error, scalars."""
        self.quiet.copy_((self.quiet + 1) * (share <= 2 * error))
