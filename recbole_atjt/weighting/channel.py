"""CHANNEL: noise recognised by the recommender's own likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_atjt.settings.declared import DeclaredSettings, key
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import clicked
from recbole_atjt.weighting.met_clicks import Asked
from recbole_atjt.weighting.mixture import NoiseMixture
from recbole_atjt.weighting.mixture_weighting import MixtureWeighting


@dataclass(frozen=True)
class NoiseChannelSettings(DeclaredSettings):
    """Where share and distribution of the noise start, and how they are learned."""

    channel_share: float = key(
        0.5,
        "Share of noise that learning starts from, in [0, 1); it comes down by itself, a start "
        "that is too low stays there.",
        within="[0, 1)",
    )
    channel_learn: bool = key(
        True, "Whether share and distribution of the noise are learned after each epoch."
    )
    channel_cap: float = key(0.6, "Largest share of noise, in [0, 1).", within="[0, 1)")
    channel_warmup: int = key(
        1,
        "First epochs in which every sequence has weight 1, and after training has begun again "
        "that of its item.",
        within="[0, inf)",
    )
    channel_smoothing: float = key(
        0.1,
        "Weight of the items' training frequencies in the distribution of the noise, relative to "
        "what was found; at least 0.",
        within="[0, inf)",
    )
    channel_held_out: float = key(
        0.2,
        "Part of all pairs of user and item that is not trained on until the noise of each item is "
        "found by them, in [0, 0.5], where the model knows users by id and scores single items.",
        within="[0, 0.5]",
    )
    channel_asks_neighbors: bool = key(
        True,
        "Whether a model without a softmax begins with share and distribution of the noise as "
        "neighbours in other users' clicks tell them before the training, where they can.",
    )


class NoiseChannel(MixtureWeighting):
    r"""Channel: sequences weigh what the mixture of clean clicks and noise says of them.

    .. math:: r_i = \frac{(1-e) \, p(y_i|s_i)}{(1-e) \, p(y_i|s_i) + e \, q(y_i)}

    without a gradient, so that :math:`\sum_i r_i l_i` has the gradient of
    :math:`-\sum_i \log((1-e) p + e q)`: EM, or forward correction with a channel that does not look
    at the history (Goldberger & Ben-Reuven 2017; Patrini et al. 2017). A rare, hard item keeps its
    weight, since q gives it little too. Share e and distribution q are learned after each epoch
    (:class:`~recbole_atjt.weighting.mixture.NoiseMixture`). Of models without a softmax they are
    those that neighbours in other users' clicks tell before the training, where they can
    (:class:`~recbole_atjt.weighting.met_clicks.MetClicks`). Weights use what of e has settled.
    Where that is 0 they are exactly 1, and the training is plain bit for bit.
    """

    settings_class = NoiseChannelSettings
    weighs_by_probability = True

    settings: NoiseChannelSettings

    def __init__(self, settings: NoiseChannelSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.mixture = NoiseMixture(
            item_frequency,
            settings.channel_share,
            settings.channel_learn,
            settings.channel_cap,
            settings.channel_smoothing,
            settings.channel_held_out,
        )
        if settings.channel_asks_neighbors and settings.channel_learn and settings.channel_share:
            self.reads_clicks = True
            self.mixture.elsewhere = self._noise_of_items

    @property
    def warm_up(self) -> int:
        """Number of first epochs in which every sequence has weight 1."""
        return self.settings.channel_warmup

    def _noise_of_items(self, asked: Asked) -> Tensor | None:
        """Return what neighbours tell of the noise in the clicks on each item, ``[n_items]``.

        Of noise that is spread over all items they are not asked: that it is there does not help
        weights that are those of items, and a softmax finds it by itself.
        """
        if asked is Asked.SPREAD:
            return None
        told = self.met.noise_of_items(Asked.OF_ITEMS)
        self.met.forget()  # that is all that is asked
        return told

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the posterior of being clean, with the share that has settled, ``[S]``."""
        looks = self.mixture.watch(evidence)
        if looks and self._unweighed and self.mixture.tests_without_likelihood(evidence):
            self.mixture.count(evidence)
            return torch.ones(len(evidence.item), device=evidence.loss.device)
        log_p, click = self.mixture.log_likelihood(evidence), clicked(evidence)
        ratio = self.mixture.log_lift(evidence.item, log_p)
        weights = torch.ones_like(ratio)
        if evidence.epoch >= self.settings.channel_warmup or self.mixture.by_items:
            weights = torch.where(click, self.mixture.weight(evidence.item, ratio), 1.0)
        if looks:
            clean = torch.where(click, self.mixture.posterior(ratio), 1.0)
            self.mixture.observe(evidence, log_p, clean)
            self.mixture.note(clean, weights, click)
        return weights

    def clean_probability(self, evidence: Evidence, weights: Tensor) -> Tensor:
        """Return the posterior of being clean, with the share as it was learned, ``[S]``."""
        if evidence.epoch < self.settings.channel_warmup:
            return weights
        log_p = self.mixture.log_likelihood(evidence)
        return torch.where(
            clicked(evidence), self.mixture.clean_posterior(evidence.item, log_p), 1.0
        )

    def end_epoch(self, epoch: int) -> None:
        """Learn share and distribution of the noise from the epoch."""
        self.mixture.update()
