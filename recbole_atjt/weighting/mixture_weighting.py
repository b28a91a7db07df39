"""What strategies have in common whose weights come from a mixture of clean clicks and noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.mixture import NoiseMixture


class MixtureWeighting(Weighting):
    """A strategy that hands epochs, draws and held-out pairs on to its :attr:`mixture`."""

    may_begin_again = True
    per_sample = False  # under BCE and BPR, the batch's negatives calibrate its likelihoods

    #: Made by the subclass.
    mixture: NoiseMixture

    def forward(self, evidence: Evidence) -> Tensor:
        """Return the weights of losses, ``[S]``, or ``[B]`` where pairs are held out."""
        return self.mixture.pairs.leave_out(super().forward(evidence), evidence)

    def passes(self, evidence: Evidence, learns: bool) -> bool:
        """Tell whether a training batch passes unweighed, and with nothing to learn from it."""
        weighs = self.mixture.weighs and evidence.epoch >= self.warm_up
        return torch.is_grad_enabled() and not (learns or weighs)

    def alike(self, evidence: Evidence) -> Tensor:
        """Return weights of 1, ``[S]``."""
        return torch.ones_like(evidence.loss.detach()[: len(evidence.item)]).float()

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch's report and its draws."""
        super().start_epoch(epoch)
        self.mixture.start(epoch)

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
