"""ATJT whose recognisers read the recommender's likelihood, and other users' clicks beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.likelihood import clicked, negative_scores
from recbole_atjt.weighting.likelihood_recognizer import (
    LikelihoodRecognizer,
    weighted_recognition_loss,
)
from recbole_atjt.weighting.mixture import NoiseMixture
from recbole_atjt.weighting.mixture_weighting import MixtureWeighting
from recbole_atjt.weighting.recognition import (
    AuxiliaryTaskJointTraining,
    JointTrainingSettings,
    RecognizerWeighting,
)
from recbole_atjt.weighting.report import Curve
from recbole_atjt.weighting.unrelated_clicks import UnrelatedClicks, unsound

_START, _CAP, _SMOOTHING = 0.5, 0.6, 0.1


class LikelihoodJointTraining(MixtureWeighting, RecognizerWeighting):
    r"""ATJT: recognisers tell original targets from drawn ones by the recommender's likelihood.

    Batches are those of plain training. In them, each sequence of group n is weighed by
    :math:`g_n` and trains the recognisers of all other groups, so that none weighs a user it was
    trained on (3.4.1). Drawn targets share the histories of the batch, so that the recommender's
    one forward pass serves both: with a softmax their scores stand beside the original's; elsewhere
    they are the sampled negatives, weighted by how likely they are to be drawn from the
    distribution r of the replacements. Originals are a mixture of clean clicks and noise, so that
    with equal shares of originals and drawn targets, and c the log-ratio of clean clicks and noise
    that a recogniser gives, the log-odds of an original are

    .. math:: g = \log \frac{q(y)}{r(y)} + \log\left((1 - e) \, e^{c(s, y)} + e\right)

    A recogniser without that floor would have to explain noise by fitting clean clicks less. The
    weight is the posterior :math:`P(clean | s, y) = (1-e) e^c / ((1-e) e^c + e)`.

    A second reading says how often the click's item stands near its neighbours in other users'
    clicks (:class:`~recbole_atjt.weighting.neighbors.Neighbors`). It takes the place of half of
    what the likelihood says beyond the item. Clicks of users whose clicks are unrelated altogether,
    and such that are repeated without interest, are known before the training
    (:class:`~recbole_atjt.weighting.unrelated_clicks.UnrelatedClicks`): they weigh next to nothing
    from its first batch on, and say nothing of the noise in others.
    A model without a softmax says little of its clicks, and late. There neighbours tell before the
    training which items' clicks are unrelated
    (:func:`~recbole_atjt.weighting.unrelated_items.noise_of_unrelated_items`). To models that know
    their users, and to those with a softmax, they also tell how much noise is drawn by frequency
    (:func:`~recbole_atjt.weighting.floor.floor_of`): the first never find it, the others learn it
    by heart. What neighbours find is known from the first batch on. Where they show a model without
    a softmax that there is none, the training is plain; where they tell too little, the model is
    asked. Models that know their users say nothing of histories; in their place, clicks further off
    speak, by how much their items resemble that of the click.

    The share e is estimated by how many targets fit their histories no better than random ones
    (:class:`~recbole_atjt.weighting.mixture.NoiseMixture`); q is what the posteriors point at.
    Weights use what of e has settled. Where that is 0, and no click was known for noise before,
    they are exactly 1, and the training is plain bit for bit.
    """

    settings_class = JointTrainingSettings
    needs_history = False
    mixes_groups = True
    free_scale = True

    settings: JointTrainingSettings

    @property
    def warm_up(self) -> int:
        """Number of first epochs in which every sequence has weight 1."""
        return self.settings.atjt_warmup

    @classmethod
    def build(cls, settings: JointTrainingSettings, item_frequency: Tensor) -> Weighting:
        """Build the form that ``atjt_evidence`` names."""
        if settings.atjt_evidence == "own":
            return AuxiliaryTaskJointTraining(settings, item_frequency)
        for key, only in (("atjt_schedule", "interleaved"), ("atjt_joint_gradient", False)):
            given = getattr(settings, key)
            if given != only:
                raise UsageError(
                    f"{key}={given} goes with atjt_evidence=own: use {key}={only}, or preset=paper"
                )
        return cls(settings, item_frequency)

    def __init__(self, settings: JointTrainingSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.needs_history = settings.atjt_recognizer_reads == "all"
        self.reads_clicks = settings.atjt_recognizer_reads != "likelihood"
        rate = settings.atjt_noise_rate
        self._rate = None if isinstance(rate, str) else rate
        start, cap = (_START, _CAP) if self._rate is None else (self._rate, 1.0)
        held_out = settings.atjt_held_out if self._rate is None else 0.0
        self.mixture = NoiseMixture(item_frequency, start, True, cap, _SMOOTHING, held_out)
        if self._rate is not None:
            self.mixture.give(self._rate)
        elif self.reads_clicks:
            self.mixture.elsewhere = self.met.noise_of_items
        self._curve = Curve()
        self._loss: Tensor | None = None
        self._has_loss = False  # the last batch that was learned from

    def recognize(self, group: int, history: Tensor, target: Tensor) -> Tensor | None:  # type: ignore[override]
        """Return None: without the recommender's likelihood there is nothing to read."""
        return None

    def _recognizers(self) -> nn.ModuleList:
        reads_all = self.settings.atjt_recognizer_reads == "all"
        return nn.ModuleList(
            LikelihoodRecognizer(self._fresh() if reads_all else None) for _ in range(self.groups)
        )

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the posterior of being clean, with the share that has settled, ``[S]``."""
        sound = self._sound(evidence.user, evidence.item)
        if sound is not None:
            evidence = replace(evidence, left_out=unsound(sound))
        learns = self.mixture.watch(evidence) or (self.needs_history and torch.is_grad_enabled())
        self._loss = self._no_loss()
        log_p, click = self.mixture.log_likelihood(evidence), clicked(evidence)
        ratios = self._ratios(evidence, evidence.item, log_p)
        ratio = self._own(ratios.detach(), evidence.group)
        weights = torch.ones_like(ratio)
        warm = evidence.epoch >= self.settings.atjt_warmup or self.mixture.by_items
        if warm and self.mixture.weighs:
            near = self._near(evidence)
            weights = torch.where(click, self.mixture.weight(evidence.item, ratio, near), 1.0)
        if learns:
            clean = torch.where(click, self.mixture.posterior(ratio), 1.0)
            self._learn(evidence, log_p, ratios, clean, click)
            self.mixture.note(clean, weights, click)
        return weights if sound is None else weights * sound

    def _known(self) -> UnrelatedClicks | None:
        """Return clicks known for noise before the training; None if none, or a share is given."""
        return self.met.unrelated() if self._rate is None else None

    def _sound(self, user: Tensor, item: Tensor) -> Tensor | None:
        """Return the probability of clicks not to be known for noise, ``[S]``; None if all are."""
        known = self._known()
        return None if known is None else known.sound(user, item)

    def _near(self, evidence: Evidence) -> Tensor | None:
        """Return what the neighbours of targets say, ``[S]``; None where none were met."""
        return self.met.log_ratio(evidence.user, evidence.item, far=self.mixture.pairs.active)

    def clean_probability(self, evidence: Evidence, weights: Tensor) -> Tensor:
        """Return the posterior of being clean, with the share as it was learned, ``[S]``."""
        if evidence.epoch < self.settings.atjt_warmup:
            return weights
        log_p = self.mixture.log_likelihood(evidence)
        ratio = self._own(self._ratios(evidence, evidence.item, log_p), evidence.group)
        near = self._near(evidence)
        if near is not None:
            ratio = self.mixture.pooled(evidence.item, ratio, near)
        clean = torch.where(clicked(evidence), self.mixture.posterior(ratio), 1.0)
        sound = self._sound(evidence.user, evidence.item)
        return clean if sound is None else clean * sound

    def normalize(self, weights: Tensor) -> Tensor:
        """Apply the posterior whole, or normalised as ``atjt_normalize`` says, ``[S]``."""
        if self.settings.atjt_normalize == "posterior":
            return weights
        return super().normalize(weights)

    def _ratios(
        self, evidence: Evidence, item: Tensor, log_p: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """Return ``c`` of targets by each recogniser, ``[N, D]``.

        Args:
            evidence: The batch.
            item: Targets, ``[D]``.
            log_p: Their log-likelihoods, ``[D]``.
            rows: Rows of the batch whose histories are theirs, ``[D]``; None for all in order.
        """
        history = evidence.history
        if history is not None and rows is not None:
            history = history[rows]
        lift = self.mixture.log_lift(item, log_p)
        return torch.stack([each(lift, history, item) for each in self.recognizers])

    @staticmethod
    def _own(ratios: Tensor, group: int | Tensor) -> Tensor:
        """Choose of ``ratios [N, D]`` those of the recogniser that weighs each user, ``[D]``."""
        if isinstance(group, int):
            return ratios[group]
        return ratios.gather(0, group.unsqueeze(0)).squeeze(0)

    def _logit(self, ratio: Tensor, item: Tensor) -> Tensor:
        """Return the log-odds ``g`` of targets ``[D]`` to be original, shaped as ``ratio``."""
        share = self.mixture.share.to(ratio).clamp(1e-6, 1 - 1e-6)
        mixed = torch.logaddexp(torch.log1p(-share) + ratio, torch.log(share).expand_as(ratio))
        drawn = self.mixture.noise[item] / self._source()[item].clamp_min(1e-30)
        return mixed + torch.log(drawn.clamp_min(1e-30))

    def _source(self) -> Tensor:
        """Return the distribution r that replacements are drawn from, ``[n_items]``."""
        source = self.settings.atjt_replace_from
        if source == "learned":
            return self.mixture.noise
        if source == "popularity":
            return self.mixture.unigram
        return torch.full_like(self.mixture.unigram, 1.0 / max(1, len(self.mixture.unigram) - 1))

    def _learn(
        self, evidence: Evidence, log_p: Tensor, ratios: Tensor, clean: Tensor, click: Tensor
    ) -> None:
        """Gather ``L^D`` of the recognisers, and what the batch says of the noise.

        Args:
            evidence: The batch.
            log_p: Log-likelihoods of its targets, ``[S]``.
            ratios: ``c`` of these by each recogniser, ``[N, S]``.
            clean: Posteriors of being clean, without a graph, ``[S]``.
            click: Which are clicks, ``[S]``.
        """
        self.mixture.observe(evidence, log_p, clean)
        drawn = self._drawn(evidence, log_p)
        self._has_loss = drawn is not None
        self._loss = None
        if drawn is None:
            return
        item, drawn_log_p, importance, rows = drawn
        others = self._ratios(evidence, item, drawn_log_p, rows)
        original, replaced = self._logit(ratios, evidence.item), self._logit(others, item)
        group = evidence.group
        group_of_drawn = group if isinstance(group, int) else group[rows]
        self._loss = self._recognition(
            (original, click.to(original) * self._outside(group, original)),
            (replaced, importance.to(replaced) * self._outside(group_of_drawn, replaced)),
        )
        self.report.recognizer_loss.add(self._loss)
        with torch.no_grad():
            self._curve.add(
                self._own(original, group),
                click.double(),
                self._own(replaced, group_of_drawn),
                importance,
            )
            self.report.original.add(clean, click)
            self.report.replaced.add(self.mixture.posterior(self._own(others, group_of_drawn)))

    @staticmethod
    def _outside(group: int | Tensor, like: Tensor) -> Tensor:
        """Mark for each recogniser the targets of users that it does not weigh, ``[N, D]``."""
        number = torch.arange(len(like), device=like.device).unsqueeze(1)
        return (number != group).to(like).expand_as(like)

    def _recognition(
        self, original: tuple[Tensor, Tensor], replaced: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return the mean ``L^D`` of the recognisers that have any target to learn from, a scalar.

        Args:
            original: Logits and importance of original targets, ``[N, S]`` each.
            replaced: The same of drawn ones, ``[N, D]`` each.
        """
        label = torch.cat((torch.ones_like(original[0]), torch.zeros_like(replaced[0])), 1)
        logit, importance = (torch.cat(parts, 1) for parts in zip(original, replaced))
        losses = torch.stack(
            [weighted_recognition_loss(*each) for each in zip(logit, label, importance)]
        )
        learns = (importance > 0).any(1).to(losses)
        return (losses * learns).sum() / learns.sum().clamp_min(1.0)

    @torch.no_grad()
    def _drawn(
        self, evidence: Evidence, log_p: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return drawn targets: items, log-likelihoods, importance and rows of histories, ``[D]``.

        None where the model shows neither all scores nor those of sampled items.
        """
        source, sequences = self._source(), len(evidence.item)
        if evidence.logits is not None:
            item = self.mixture.draw(source, sequences)
            own = evidence.logits.gather(1, evidence.item.unsqueeze(1)).squeeze(1).float()
            score = evidence.logits.gather(1, item.unsqueeze(1)).squeeze(1).float()
            rows = torch.arange(sequences, device=item.device)
            return item, score - own + log_p, torch.ones_like(log_p), rows
        found = negative_scores(evidence)
        if found is None:
            return None
        item, scores = found
        rows = torch.arange(len(item), device=item.device) % sequences
        return (
            item,
            self.mixture.log_likelihood_of(item, scores),
            source[item] * (len(source) - 1),
            rows,
        )

    def _no_loss(self) -> Tensor | None:
        """Return the ``L^D`` of a batch that is not learned from: 0, or None where none ever is."""
        return self.mixture.share.new_zeros((), dtype=torch.float32) if self._has_loss else None

    @property
    def _unweighed(self) -> bool:
        """Whether the weights of this epoch are all exactly 1."""
        return super()._unweighed and self._known() is None

    @property
    def passes(self) -> bool:
        """Whether the next batch passes: recognisers of their own learn from every one."""
        return super().passes and not self.needs_history

    def let_pass(self, sequences: int) -> None:
        """Count a batch that passes."""
        super().let_pass(sequences)
        self._loss = self._no_loss()

    def evidence_loss(self) -> Tensor | None:
        """Return ``alpha L^D`` of the sequences that were just weighed (3.4.2)."""
        loss, self._loss = self._loss, None
        return None if loss is None else self.settings.atjt_alpha * loss

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch's report."""
        super().start_epoch(epoch)
        self._curve = Curve()

    def in_epoch(self) -> dict[str, Any]:
        """Return what the epoch has gathered so far, where its draws are included."""
        more = {"curve": self._curve.state(), "has_loss": int(self._has_loss)}
        return {**super().in_epoch(), **more}

    def go_on_in_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on inside an epoch that was started."""
        super().go_on_in_epoch(state)
        self._has_loss = bool(state["has_loss"])
        curve = state["curve"]
        self._curve.load(None if curve is None else curve.to(self.item_frequency.device))

    def end_epoch(self, epoch: int) -> None:
        """Learn share and distribution of the noise from the epoch."""
        self.mixture.update(from_posteriors=False)
        if self._rate is not None:
            self.mixture.give(self._rate)

    def describe(self) -> dict[str, float]:
        """Return the epoch's figures, with how far the recognisers follow the likelihood.

        Shares of noise are those of all clicks, as if what was known before and what was found fell
        on clicks independently.
        """
        scale = torch.stack([each.scale.detach() for each in self._parts()]).mean()
        found = {**super().describe(), "likelihood_scale": float(scale)}
        known = self._known()
        if known is not None:
            for each in ("noise_share", "weighted_share"):
                found[each] = 1 - (1 - found[each]) * (1 - known.share)
            found.update(known.shares())
        return found

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items held most responsible; none where all noise was known before."""
        if self._known() is not None and not float(self.mixture.settled.value):
            return []
        return super().suspects(count)

    def _parts(self) -> list[LikelihoodRecognizer]:
        return [each for each in self.recognizers if isinstance(each, LikelihoodRecognizer)]

    def complaint(self) -> str | None:
        """Say where the recognisers had nothing to learn from."""
        if self.report.weights.count and not self.report.replaced.count:
            return (
                "the model's loss shows no scores of other items, so that the recognisers did not "
                "learn: weights are the channel's; try another loss_type, or atjt_evidence=own"
            )
        return super().complaint()

    def recognition(self) -> dict[str, object] | None:
        """Return the posteriors of original and drawn targets in the last epoch, and the AUROC."""
        original, replaced = self.report.original, self.report.replaced
        if not replaced.count:
            return {}
        return {
            "original": {"mean": original.mean, "variance": original.variance},
            "replaced": {"mean": replaced.mean, "variance": replaced.variance},
            "auroc": self._curve.auroc(),
        }
