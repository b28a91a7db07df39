"""Pairs of user and item that nobody trains on, and what they say of the noise of each item."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import clicked, target_scores
from recbole_atjt.weighting.random_histories import compared
from recbole_atjt.weighting.ranks import BINS, bin_of, shares_by_rank

#: Other users that a held-out click is compared with.
DRAWS = 4
#: Rows of the batch that are looked through for them, for each that is expected to be found.
_TRIED = 3
#: What an epoch leaves of earlier epochs' counts.
_KEPT = 0.5
#: The mean rank says something from so many standard errors above 1/2 on.
_CLEAR = 5.0
#: It has stopped rising where an epoch adds less than this part to its distance from 1/2.
_STILL = 0.03
#: Power of two that hashes stay below.
_LARGEST = 2**31


class HeldOutPairs(nn.Module):
    r"""Pairs of user and item that no loss sees, neither as clicks nor as sampled negatives.

    A model that knows its users by id learns their clicks by heart, noise included, so that its
    scores of what it was trained on tell nothing. Of a part of all pairs, chosen by a hash, no row
    is trained on. A held-out click on item y is compared with held-out pairs of y and other
    users: its rank u among these is uniform if it does not depend on its user, whatever the model
    is, and tends to 1 if it does. These ranks tell the item's share of noise
    (:func:`~recbole_atjt.weighting.ranks.shares_by_rank`).

    Pairs are held out until the mean rank of held-out clicks has stopped rising: the model has
    learned what it will of its users' tastes, and the shares stay as they are then. From there on
    all pairs are trained on.

    Args:
        n_items: Number of items, the padding included.
        part: Part of all pairs that is held out, in [0, 1); 0 for none.
    """

    ranks: Tensor
    lift: Tensor
    released: Tensor

    def __init__(self, n_items: int, part: float) -> None:
        super().__init__()
        self.part = part
        #: Whether the model at hand is one whose pairs are held out.
        self.active = False
        #: Clicks on each item by their rank, of this epoch and, less and less, of earlier ones.
        self.register_buffer("ranks", torch.zeros(n_items, BINS, dtype=torch.float64))
        #: Mean rank of held-out clicks above 1/2 in the last epoch.
        self.register_buffer("lift", torch.zeros((), dtype=torch.float64))
        #: Whether all pairs are trained on, and the noise of items stays as it is known.
        self.register_buffer("released", torch.zeros((), dtype=torch.long))
        self._holding = part > 0

    def start(self) -> None:
        """Begin an epoch."""
        self._holding = self.part > 0 and not bool(self.released)
        if self._holding:
            self.ranks.mul_(_KEPT)

    def notice(self, evidence: Evidence) -> None:
        """See from a batch whether pairs are held out: its model knows users, and scores singly."""
        self.active = bool(
            self.part > 0
            and evidence.knows_users
            and evidence.all_items is None
            and evidence.under is not None
            and target_scores(evidence) is not None
        )

    def holds(self, user: Tensor, item: Tensor) -> Tensor:
        """Tell which pairs are held out, of the shape that ``user`` and ``item`` broadcast to."""
        mixed = (user * 73856093 + item * 19349663) & (_LARGEST - 1)
        for factor in (73244475, 1103515245):
            mixed = ((mixed >> 15) ^ mixed).mul_(factor).bitwise_and_(_LARGEST - 1)
        return ((mixed >> 15) ^ mixed) < self.part * _LARGEST

    def leave_out(self, weights: Tensor, evidence: Evidence) -> Tensor:
        """Return the weights of all rows, with 0 where a held-out pair takes part, ``[B]``.

        Negatives that were sampled for a held-out click are left out with it.

        Args:
            weights: Those of sequences ``[S]`` or of rows ``[B]``.
            evidence: The batch.
        """
        if not (self.active and self._holding and torch.is_grad_enabled()):
            return weights
        user, rows = evidence.user, len(evidence.loss)
        held = self.holds(user, evidence.item)
        held = held.repeat(rows // len(held))
        if evidence.negative is not None:
            negative = evidence.negative
            users = user.repeat(len(negative) // len(user))
            held[rows - len(negative) :] |= self.holds(users, negative)
        return weights.repeat(rows // len(weights)).masked_fill(held, 0.0)

    @torch.no_grad()
    def watch(self, evidence: Evidence, generator: torch.Generator | None) -> None:
        """Rank the held-out clicks of a training batch among other users.

        Args:
            evidence: The batch.
            generator: Draws the users.
        """
        if not self._holding:
            return
        score, user, item = target_scores(evidence), evidence.user, evidence.item
        target = (self.holds(user, item) & clicked(evidence)).nonzero().squeeze(1)
        if score is None or evidence.under is None or not len(target):
            return
        device = score.device
        size = (len(target), int(_TRIED * DRAWS / self.part))
        row = torch.randint(len(score), size, device=device, generator=generator)
        fit = self.holds(user[row], item[target].unsqueeze(1))
        fit &= user[row] != user[target].unsqueeze(1)
        if evidence.history is not None:  # what was clicked already may be known to come but once
            which, place = fit.nonzero(as_tuple=True)
            known = evidence.history[row[which, place]] == item[target[which]].unsqueeze(1)
            fit[which, place] = ~known.any(1)
        fit &= fit.cumsum(1) <= DRAWS
        which, place = fit.nonzero(as_tuple=True)
        if not len(which):
            return
        other = evidence.under(row[which, place], target[which])
        below, equal = compared(other, score[target[which]])
        counts = torch.zeros(len(target), 3, dtype=torch.float64, device=device)
        each = torch.stack((below, equal, torch.ones_like(other)), dim=1).double()
        below, equal, drawn = counts.index_add_(0, which, each).unbind(1)
        chance = torch.rand(len(target), device=device, generator=generator).double()
        rank = (below + chance * (1 + equal)) / (1 + drawn)
        seen = drawn > 0
        place = item[target[seen]] * BINS + bin_of(rank[seen])
        self.ranks.view(-1).index_add_(0, place, torch.full_like(rank[seen], 1 - _KEPT))

    @torch.no_grad()
    def release(self) -> bool:
        """Train on all pairs from now on if the mean rank has stopped rising; asked once an epoch.

        Returns:
            Whether it has.
        """
        number = self.ranks.sum()
        if not bool(number > 0):
            return False
        place = (torch.arange(BINS).to(self.ranks) + 0.5) / BINS
        lift, before = (self.ranks.sum(0) @ place) / number - 0.5, self.lift.clone()
        self.lift.copy_(lift)
        clear = lift > _CLEAR * (12 * number).rsqrt()  # of a mean of uniform numbers
        self.released.fill_(int(clear & (lift - before < _STILL * lift)))
        return bool(self.released)

    def let_go(self) -> None:
        """Train on all pairs from now on, those of the batch at hand included."""
        self.released.fill_(1)
        self._holding = False

    def give_up(self) -> bool:
        """Train on all pairs from now on, whatever they have told.

        Returns:
            Whether any were held out until now.
        """
        held = (self.active or bool(self.ranks.any())) and not bool(self.released)
        if held:
            self.released.fill_(1)
        return held

    def shares(self) -> Tensor:
        """Return the share of noise in the clicks on each item, ``[n_items]``."""
        return shares_by_rank(self.ranks)
