"""What of an estimated share of noise weights may use, and when training begins again with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: A share has settled when an epoch takes less than this part of it away,
_STILL = 1 / 3
#: and no more than this part of the most that an epoch has taken away.
_SLOWED = 0.5
#: Smaller shares are found where there is no noise, too: by held-out pairs, since items that
#: everybody clicks on do not depend on their users either; by clicks that were trained on, where a
#: model learns slowly.
_WORTH = 0.05


class SettledShare(nn.Module):
    r"""The share of noise that weights use.

    A share that was tested on the clicks that a model trains on says how much noise there is at
    most: what the model has not learned yet looks like noise, and the share comes down while it
    learns. It comes down fast at first, and then slowly, since the model learns the noise by heart,
    too. So weights use none of it, and training is plain, until an epoch takes less than a third of
    it away, and at most half of the most that an epoch took. What the model makes of the noise by
    then lasts. So training begins again from the first parameters, with share and distribution of
    the noise known, and weights use all of it. From then on only an estimate that is no larger
    counts: a model that begins knows less than the one that the share is from. A share of less than
    .05 has come down to where there may be no noise, and training stays plain.

    Pairs that are held out tell when they are done (:meth:`take`). Where there is no test, there is
    no bound to wait for, and weights use what two epochs agree upon,
    :math:`\max(0, e_t - |e_t - e_{t-1}|)` with :math:`e_{-1} = 1`.

    Args:
        share: Share before anything is learned.
        cap: Largest share; what is as large is that of a model that is no better than its noise.
    """

    value: Tensor
    before: Tensor
    fastest: Tensor
    begun: Tensor

    def __init__(self, share: float, cap: float) -> None:
        super().__init__()
        self.cap = cap
        self.register_buffer("value", torch.tensor(float(share), dtype=torch.float64))
        #: The estimate of the epoch before, unclipped; at first one that nothing is near to.
        self.register_buffer("before", torch.tensor(2.0, dtype=torch.float64))
        #: The most that an epoch has taken away.
        self.register_buffer("fastest", torch.zeros((), dtype=torch.float64))
        #: The number of the epoch since training has begun with noise that is known, from 1; 0
        #: where it has not.
        self.register_buffer("begun", torch.zeros((), dtype=torch.long))
        #: Whether training begins again after the epoch that was just learned from.
        self.begins_again = False
        self._given = False

    def give(self, share: float) -> None:
        """Take a share as known, whatever is estimated."""
        self.value.fill_(share)
        self._given = True

    def begin(self, share: Tensor) -> None:
        """Begin with a share that is known before the training."""
        self.value.copy_(share.clamp(0.0, self.cap))
        self.begun.fill_(1)

    @staticmethod
    def is_worth(share: Tensor) -> bool:
        """Tell whether a share is more than what is found where there is no noise."""
        return bool(share >= _WORTH)

    def take(self, share: Tensor, last: bool) -> None:
        """Take an estimate of pairs that are held out; weights use none of it but the last.

        Training begins again with that, and with 0 where it is as small as it may be without noise.

        Args:
            share: The estimate, unclipped, a scalar.
            last: Whether the pairs are held out no longer.
        """
        self.begins_again = last
        used = last and self.is_worth(share)
        self.value.copy_(share.clamp(0.0, self.cap) if used else torch.zeros_like(share))

    def end_epoch(self) -> None:
        """Count the epoch that ends."""
        self.begins_again = False
        self.begun += self.begun > 0

    def counts(self, share: Tensor) -> bool:
        """Tell whether an estimate is to be learned from."""
        return not bool(self.begun) or bool(share <= self.before)

    def learn(self, share: Tensor, error: Tensor | None) -> None:
        """Take in the share of an epoch that counts.

        Args:
            share: The estimate, unclipped, a scalar.
            error: Its standard error where it was tested on the clicks trained on; else None.
        """
        if self._given:
            return
        known, unknown = share.clamp(0.0, self.cap), share >= self.cap
        before = self.before.clone()
        self.before.copy_(share)
        if error is None:
            change = (known - before.clamp_max(1.0)).abs()
            self.value.copy_((known - change).clamp_min(0.0).masked_fill(unknown, 0.0))
            return
        if not bool(self.begun):
            fall = before.clamp_max(1.0) - share
            self.fastest.copy_(torch.maximum(self.fastest, fall))
            still = (fall <= _STILL * before) & (fall <= _SLOWED * self.fastest)
            same = (before < self.cap) & (still | (fall.abs() <= 2 * error))
            found = same & ~unknown & (known > 2 * error) & (known >= _WORTH)
            self.begins_again = bool(found)
            self.begun.fill_(int(self.begins_again))
        self.value.copy_(known.masked_fill(self.begun == 0, 0.0))
