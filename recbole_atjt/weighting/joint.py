"""ATJT whose recognisers read the recommender's likelihood."""

from __future__ import annotations

from collections.abc import Mapping
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
from recbole_atjt.weighting.recognition import (
    AuxiliaryTaskJointTraining,
    JointTrainingSettings,
    RecognizerWeighting,
)
from recbole_atjt.weighting.report import Curve

_START, _CAP, _SMOOTHING = 0.5, 0.6, 0.1


class LikelihoodJointTraining(RecognizerWeighting):
    r"""ATJT: recognisers tell original targets from drawn ones by the recommender's likelihood.

    Each sequence of group n is weighed by :math:`g_n` and trains the recognisers of all other
    groups, so that none weighs a user it was trained on (3.4.1). Drawn targets share the histories
    of the batch, so that the recommender's one forward pass serves both: with a softmax their
    scores stand beside the original's; elsewhere they are the sampled negatives, weighted by how
    likely they are to be drawn from the distribution r of the replacements. Originals are a mixture
    of clean clicks and noise, so that with equal shares of originals and drawn targets, and c the
    log-ratio of clean clicks and noise that a recogniser gives, the log-odds of an original are

    .. math:: g = \log \frac{q(y)}{r(y)} + \log\left((1 - e) \, e^{c(s, y)} + e\right)

    A recogniser without that floor would have to explain noise by fitting clean clicks less. The
    weight is the posterior :math:`P(clean | s, y) = (1-e) e^c / ((1-e) e^c + e)`.

    The share e is estimated by how many targets fit their histories no better than random ones
    (:class:`~recbole_atjt.weighting.mixture.NoiseMixture`); q is what the posteriors point at.
    """

    settings_class = JointTrainingSettings
    needs_history = False
    per_sample = False
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
        rate = settings.atjt_noise_rate
        self._rate = None if isinstance(rate, str) else rate
        start, cap = (_START, _CAP) if self._rate is None else (self._rate, 1.0)
        self.mixture = NoiseMixture(item_frequency, start, True, cap, _SMOOTHING)
        self._curve = Curve()
        self._loss: Tensor | None = None

    def recognize(self, group: int, history: Tensor, target: Tensor) -> Tensor | None:  # type: ignore[override]
        """Return None: without the recommender's likelihood there is nothing to read."""
        return None

    def _recognizers(self) -> nn.ModuleList:
        reads_all = self.settings.atjt_recognizer_reads == "all"
        return nn.ModuleList(
            LikelihoodRecognizer(self._fresh() if reads_all else None) for _ in range(self.groups)
        )

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the posterior of each sequence of being clean, ``[S]``."""
        self.mixture.watch(evidence)
        log_p, click = self.mixture.log_likelihood(evidence), clicked(evidence)
        with torch.no_grad():
            ratio = self._ratio(evidence.group, evidence, evidence.item, log_p)
            clean = torch.where(click, self.mixture.posterior(ratio), 1.0)
        if torch.is_grad_enabled():
            self._learn(evidence, log_p, ratio, clean, click)
        return clean if evidence.epoch >= self.settings.atjt_warmup else torch.ones_like(clean)

    def normalize(self, weights: Tensor) -> Tensor:
        """Apply the posterior whole, or normalised as ``atjt_normalize`` says, ``[S]``."""
        if self.settings.atjt_normalize == "posterior":
            return weights
        return super().normalize(weights)

    def _ratio(
        self,
        group: int,
        evidence: Evidence,
        item: Tensor,
        log_p: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Return ``c`` of targets whose histories are those of the batch or of its rows."""
        history = evidence.history
        if history is not None and rows is not None:
            history = history[rows]
        ratio: Tensor = self.recognizers[group](self.mixture.log_lift(item, log_p), history, item)
        return ratio

    def _logit(self, ratio: Tensor, item: Tensor) -> Tensor:
        """Return the log-odds ``g`` of targets to be original."""
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
        self, evidence: Evidence, log_p: Tensor, ratio: Tensor, clean: Tensor, click: Tensor
    ) -> None:
        """Gather ``L^D`` of the other groups' recognisers, and what the batch says of the noise."""
        self.mixture.observe(evidence, log_p, clean)
        self._loss = None
        drawn = self._drawn(evidence, log_p)
        if drawn is None:
            return
        item, drawn_log_p, importance, rows = drawn
        others = [group for group in range(self.groups) if group != evidence.group]
        self._loss = torch.stack(
            [
                self._loss_of(group, evidence, log_p, click, item, drawn_log_p, importance, rows)
                for group in others
            ]
        ).mean()
        self.report.recognizer_loss.add(self._loss)
        with torch.no_grad():
            other = self._ratio(evidence.group, evidence, item, drawn_log_p, rows)
            original, drawn_logit = self._logit(ratio, evidence.item), self._logit(other, item)
            self._curve.add(original, click.double(), drawn_logit, importance)
            self.report.original.add(clean, click)
            self.report.replaced.add(self.mixture.posterior(other))

    def _loss_of(
        self,
        group: int,
        evidence: Evidence,
        log_p: Tensor,
        click: Tensor,
        item: Tensor,
        drawn_log_p: Tensor,
        importance: Tensor,
        rows: Tensor,
    ) -> Tensor:
        original = self._logit(self._ratio(group, evidence, evidence.item, log_p), evidence.item)
        replaced = self._logit(self._ratio(group, evidence, item, drawn_log_p, rows), item)
        return weighted_recognition_loss(
            torch.cat((original, replaced)),
            torch.cat((torch.ones_like(original), torch.zeros_like(replaced))),
            torch.cat((click.to(original), importance.to(replaced))),
        )

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

    def evidence_loss(self) -> Tensor | None:
        """Return ``alpha L^D`` of the sequences that were just weighed (3.4.2)."""
        loss, self._loss = self._loss, None
        return None if loss is None else self.settings.atjt_alpha * loss

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch's report."""
        super().start_epoch(epoch)
        self.mixture.start(epoch)
        self._curve = Curve()

    def in_epoch(self) -> dict[str, Any]:
        """Return what the epoch has gathered so far, where its draws are included."""
        own = {"mixture": self.mixture.in_epoch(), "curve": self._curve.state()}
        return {**super().in_epoch(), **own}

    def go_on_in_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on inside an epoch that was started."""
        super().go_on_in_epoch(state)
        self.mixture.go_on_in_epoch(state["mixture"])
        curve = state["curve"]
        self._curve.load(None if curve is None else curve.to(self.item_frequency.device))

    def end_epoch(self, epoch: int) -> None:
        """Learn share and distribution of the noise from the epoch."""
        self.mixture.update(from_posteriors=False)
        if self._rate is not None:
            self.mixture.share.fill_(self._rate)

    def describe(self) -> dict[str, float]:
        """Return the epoch's figures, with the share of noise and what the recognisers read."""
        scale = torch.stack([each.scale.detach() for each in self._parts()]).mean()
        share = float(self.mixture.share)
        return {**super().describe(), "noise_share": share, "likelihood_scale": float(scale)}

    def _parts(self) -> list[LikelihoodRecognizer]:
        return [each for each in self.recognizers if isinstance(each, LikelihoodRecognizer)]

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items held most responsible, with their share of the noise."""
        return self.mixture.suspects(count)

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
