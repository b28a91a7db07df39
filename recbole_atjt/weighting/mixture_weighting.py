"""What strategies have in common whose weights come from a mixture of clean clicks and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from recbole_atjt.settings.declared import DeclaredSettings
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.met_clicks import MetClicks
from recbole_atjt.weighting.mixture import NoiseMixture


class MixtureWeighting(Weighting):
    """A strategy that hands epochs, draws and held-out pairs on to its :attr:`mixture`."""

    may_begin_again = True
    per_sample = False  # under BCE and BPR, the batch's negatives calibrate its likelihoods

    #: Made by the subclass.
    mixture: NoiseMixture
    _epoch = 0

    def __init__(self, settings: DeclaredSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        #: What the training clicks tell of each other.
        self.met = MetClicks(len(item_frequency))

    def meet(self, clicks: Callable[[], Clicks], others: bool = False) -> None:
        """Let these clicks tell, or let the training's tell of these."""
        self.met.meet(clicks, others)

    def forward(self, evidence: Evidence) -> Tensor:
        """Return the weights of losses, ``[S]``, or ``[B]`` where pairs are held out."""
        return self.mixture.pairs.leave_out(super().forward(evidence), evidence)

    @property
    def passes(self) -> bool:
        """Whether the next batch of training passes: unweighed, with nothing to learn from it."""
        return self._unweighed and not self.mixture.looking.looks

    @property
    def _unweighed(self) -> bool:
        """Whether the weights of this epoch are all exactly 1."""
        warms_up = self._epoch < self.warm_up and not self.mixture.by_items
        return not self.mixture.weighs or warms_up

    def let_pass(self, sequences: int) -> None:
        """Count a batch that passes."""
        super().let_pass(sequences)
        self.mixture.looking.batch += 1

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch's report and its draws."""
        super().start_epoch(epoch)
        self._epoch = epoch
        self.mixture.start(epoch, self.warm_up)

    def in_epoch(self) -> dict[str, Any]:
        """Return what the epoch has gathered so far, where its draws are included."""
        return {**super().in_epoch(), "mixture": self.mixture.in_epoch()}

    def go_on_in_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on inside an epoch that was started."""
        super().go_on_in_epoch(state)
        self.mixture.go_on_in_epoch(state["mixture"])

    @property
    def begins_again(self) -> bool:
        """Whether the recommender begins again, now that the noise is known."""
        return self.mixture.settled.begins_again

    def conclude(self) -> None:
        """Let pairs that are held out to the end be trained on."""
        self.mixture.conclude()

    def describe(self) -> dict[str, float]:
        """Return the epoch's figures, with the shares of noise that were found in it."""
        return {**super().describe(), **self.mixture.shares()}

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items held most responsible, with their share of the noise."""
        return self.mixture.suspects(count)
