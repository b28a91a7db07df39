"""Weights from noise recognisers: ATJT and its ablations WAT and DNR (ATJT, 3.4 and 4.2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_atjt.settings.declared import DeclaredSettings, key
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.corruption import REPLACEMENTS, SOURCES, Corruption
from recbole_atjt.weighting.recognizer import ATTENTIONS, LAST_LAYERS, NoiseRecognizer

SCHEDULES = ("interleaved", "paper")
NORMALIZATIONS = ("none", "mean", "posterior")
EVIDENCE = ("own", "likelihood")
READINGS = ("likelihood", "neighbors", "all")


@dataclass(frozen=True)
class RecognitionSettings(DeclaredSettings):
    """The recognisers, what they are trained on, and how their output becomes a weight."""

    atjt_groups: int = key(
        2, "N, the number of user-disjoint groups; at least 2.", within="[2, inf)"
    )
    atjt_alpha: float = key(
        1.0, "Weight of the recognisers' loss L^D beside L^R; at least 0.", within="[0, inf)"
    )
    atjt_scale_alpha: bool = key(False, "Multiply alpha by the size of L^R.")
    atjt_replace: str = key(
        "history",
        "What is replaced in noisy sequences: history (the paper), target or both; with "
        "atjt_evidence: likelihood always the target.",
        choices=REPLACEMENTS,
    )
    atjt_replace_from: str = key(
        "learned",
        "Where replacements are drawn from: uniform, popularity, or learned, the noise that the "
        "posteriors point at (with atjt_evidence: likelihood; elsewhere uniform).",
        choices=(*SOURCES, "learned"),
    )
    atjt_replace_count: int = key(
        1, "Replaced items of a history; cut to its length.", within="[1, inf)"
    )
    atjt_noise_share: float = key(
        0.5, "Share of the recognisers' sequences that is replaced, in (0, 1).", within="(0, 1)"
    )
    atjt_schedule: str = key(
        "interleaved",
        "interleaved: every epoch walks through all groups; paper: Algorithm 1, one group after "
        "another with a fresh recogniser each.",
        choices=SCHEDULES,
    )
    atjt_phase_epochs: int = key(
        1, "Epochs of each phase under the paper's schedule.", within="[1, inf)"
    )
    atjt_normalize: str = key(
        "posterior",
        "none: w as it is (Eq. 1); mean: w divided by its batch mean, so that weights cannot "
        "collapse; posterior: the probability of being clean that the recogniser's odds give (with "
        "atjt_evidence: likelihood; elsewhere mean).",
        choices=NORMALIZATIONS,
    )
    atjt_joint_gradient: bool = key(
        False, "Whether L^R also trains the recognisers through the weights."
    )
    atjt_strength: float = key(
        0.2,
        "Share of a weight that the recogniser decides, in (0, 1]: 1 - strength + strength * w; "
        "the paper has 1, the default was chosen by measurement; a posterior is applied whole.",
        within="(0, 1]",
    )
    atjt_recognizer_embedding_size: int = key(
        32, "Size of the recognisers' item embeddings.", within="[1, inf)"
    )
    atjt_recognizer_attention_hidden_size: int = key(
        32, "Width of the attention's hidden layer.", within="[1, inf)"
    )
    atjt_recognizer_output_hidden_sizes: tuple[int, ...] = key(
        (256, 64), "Widths of the output MLP's hidden layers.", within="[1, inf)"
    )
    atjt_recognizer_dropout: float = key(
        0.5, "Dropout rate of every layer, in [0, 1).", within="[0, 1)"
    )
    atjt_recognizer_attention: str = key(
        "softmax",
        "How attention scores are normalised: softmax, or sum as in the paper.",
        choices=ATTENTIONS,
    )
    atjt_recognizer_last_layer: str = key(
        "linear",
        "linear: scores and logit without PReLU and dropout; paper: with them, as 4.1.3 writes.",
        choices=LAST_LAYERS,
    )
    atjt_recognizer_learning_rate: float = key(
        0.03,
        "Learning rate of Adagrad; the paper searches 0.1, 0.01, 0.001, 0.0001.",
        within="(0, inf)",
    )


@dataclass(frozen=True)
class JointTrainingSettings(RecognitionSettings):
    """The recognisers' settings, and what ATJT lets them read."""

    atjt_evidence: str = key(
        "likelihood",
        "What the recognisers read: own, history and target by embeddings of their own (the "
        "paper); likelihood, the recommender's log p(y|s) - log q(y) of the target.",
        choices=EVIDENCE,
    )
    atjt_recognizer_reads: str = key(
        "neighbors",
        "With atjt_evidence: likelihood, what the recognisers read: the likelihood alone "
        "(likelihood), the clicks beside the target's in other users' histories, too (neighbors), "
        "or history and target by embeddings of their own beside both (all).",
        choices=READINGS,
    )
    atjt_noise_rate: float | str = key(
        "auto",
        "Share of noise that the posterior assumes, in [0, 1), or auto: it is estimated after each "
        "epoch.",
        within="[0, 1)",
        choices=("auto",),
    )
    atjt_held_out: float = key(
        0.2,
        "With atjt_evidence: likelihood and atjt_noise_rate: auto, part of all pairs of user and "
        "item that is not trained on until the noise of each item is found by them, in [0, 0.5], "
        "where the model knows users by id and scores single items, and neighbours show no noise.",
        within="[0, 0.5]",
    )
    atjt_warmup: int = key(
        1,
        "With atjt_evidence: likelihood, first epochs in which every sequence has weight 1, and "
        "where training begins with noise that is known that of its item.",
        within="[0, inf)",
    )


@dataclass(frozen=True)
class WithoutAuxiliaryTaskSettings(RecognitionSettings):
    """The recognisers' settings, as ATJT has them."""


@dataclass(frozen=True)
class DirectNoiseRecognitionSettings(RecognitionSettings):
    """The recognisers' settings, and how long they are trained alone."""

    dnr_epochs: int = key(
        3,
        "Epochs in which the recognisers of DNR are trained alone, before they are frozen; at "
        "least 1.",
        within="[1, inf)",
    )


class RecognizerWeighting(Weighting):
    """Weights ``w = g_n(s)`` from N recognisers, one for each group of users (Eq. 1)."""

    settings_class = RecognitionSettings
    groups_key = "atjt_groups"
    needs_history = True
    weighs_by_probability = True
    per_sample = False
    free_scale = False

    settings: RecognitionSettings

    def __init__(self, settings: RecognitionSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.recognizers = self._recognizers()
        self.corruption = Corruption(
            popularity=item_frequency,
            replace=settings.atjt_replace,
            source="popularity" if settings.atjt_replace_from == "popularity" else "uniform",
            count=settings.atjt_replace_count,
            share=settings.atjt_noise_share,
        )
        self.optimizer: torch.optim.Optimizer | None = None
        self._scale: float | Tensor = 1.0

    def _recognizers(self) -> nn.ModuleList:
        """Make one recogniser for each group."""
        return nn.ModuleList(self._fresh() for _ in range(self.groups))

    def _fresh(self) -> NoiseRecognizer:
        settings = self.settings
        return NoiseRecognizer(
            n_items=len(self.item_frequency),
            embedding_size=settings.atjt_recognizer_embedding_size,
            attention_hidden=settings.atjt_recognizer_attention_hidden_size,
            output_hidden=settings.atjt_recognizer_output_hidden_sizes,
            dropout=settings.atjt_recognizer_dropout,
            attention=settings.atjt_recognizer_attention,
            last_layer=settings.atjt_recognizer_last_layer,
        )

    def recognizer(self, group: int) -> NoiseRecognizer:
        """Return the recogniser that weighs the users of ``group``."""
        recognizer = self.recognizers[group]
        assert isinstance(recognizer, NoiseRecognizer)
        return recognizer

    @property
    def joint(self) -> bool:
        """Whether ``L^R`` trains the recognisers through the weights."""
        return self.settings.atjt_joint_gradient

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return ``w_i = g_n(s_i)``, ``[S]``."""
        assert evidence.history is not None
        if self.settings.atjt_scale_alpha:
            self._scale = evidence.loss.detach().mean()
        with torch.set_grad_enabled(self.joint and torch.is_grad_enabled()):
            assert isinstance(evidence.group, int)
            return self.recognize(evidence.group, evidence.history, evidence.item)

    def normalize(self, weights: Tensor) -> Tensor:
        """Divide by the batch mean and mix with 1, as the settings say, ``[S]``."""
        settings = self.settings
        if settings.atjt_normalize != "none":
            weights = weights / weights.mean().clamp_min(1e-8)
        return 1.0 - settings.atjt_strength + settings.atjt_strength * weights

    def recognize(self, group: int, history: Tensor, target: Tensor) -> Tensor:
        """Return ``sigmoid(g_n(s))`` of sequences, ``[S]``.

        Dropout is off: it regularises the recogniser's own task, in a weight it is only noise.
        """
        recognizer = self.recognizer(group)
        training = recognizer.training
        recognizer.eval()
        try:
            return torch.sigmoid(recognizer(history, target))
        finally:
            recognizer.train(training)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Return Adagrad over all recognisers (4.1.3)."""
        rate = self.settings.atjt_recognizer_learning_rate
        self.optimizer = torch.optim.Adagrad(self.recognizers.parameters(), lr=rate)
        return self.optimizer

    def complaint(self) -> str | None:
        """Say that weights have collapsed, and what helps."""
        problem = super().complaint()
        if problem is None:
            return None
        return (
            f"{problem}: try atjt_normalize=mean, atjt_joint_gradient=False or a larger atjt_alpha"
        )

    def remedies(self) -> Sequence[str]:
        """Name the recognisers' learning rate, where they are trained beside the recommender."""
        if self.optimizer is None:
            return ()
        rate = self.settings.atjt_recognizer_learning_rate
        return (f"atjt_recognizer_learning_rate (now {rate})",)

    def _recognition_loss(self, group: int, history: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            history, target, label = self.corruption.corrupt(history, target)
        loss = self.recognizer(group).recognition_loss(history, target, label)
        self.report.recognizer_loss.add(loss)
        return loss


class AuxiliaryTaskJointTraining(RecognizerWeighting):
    """ATJT as the paper has it: recognisers with embeddings of their own (3.4)."""

    settings_class = JointTrainingSettings
    wants_other_groups = True

    settings: JointTrainingSettings

    def phases(self, epoch: int) -> list[int]:
        """Walk through all groups, or as Algorithm 1 does: one, ``atjt_phase_epochs`` long."""
        groups = super().phases(epoch)
        if self.settings.atjt_schedule == "interleaved":
            return groups
        return [groups[epoch // self.settings.atjt_phase_epochs % len(groups)]]

    def start_epoch(self, epoch: int) -> None:
        """Start a phase of Algorithm 1 with a fresh recogniser (line 4)."""
        super().start_epoch(epoch)
        settings = self.settings
        if settings.atjt_schedule == "paper" and epoch % settings.atjt_phase_epochs == 0:
            self._restart(self.phases(epoch)[0])

    def _restart(self, group: int) -> None:
        """Initialise a recogniser anew and forget Adagrad's memory of it."""
        recognizer = self.recognizer(group)
        fresh = self._fresh().to(next(recognizer.parameters()).device)
        recognizer.load_state_dict(fresh.state_dict())
        if self.optimizer is not None:
            for parameter in recognizer.parameters():
                for value in self.optimizer.state[parameter].values():
                    value.zero_()

    def auxiliary_loss(self, group: int, history: Tensor, target: Tensor) -> Tensor:
        """Return ``alpha L^D`` on N-1 batches of the other groups' sequences (3.4.2)."""
        loss = self._recognition_loss(group, history, target)
        return self.settings.atjt_alpha * self._scale * loss


class WithoutAuxiliaryTask(RecognizerWeighting):
    """WAT: ATJT's network without a task of its own, trained by the recommender's loss alone.

    That is an ablation of 4.2.3.
    """

    settings_class = WithoutAuxiliaryTaskSettings
    groups_key = ""

    @property
    def joint(self) -> bool:
        """WAT has no other training signal than ``L^R``."""
        return True


class DirectNoiseRecognition(RecognizerWeighting):
    """DNR: ATJT's recognisers, trained first and then frozen.

    That is an ablation of 4.2.3.
    """

    settings_class = DirectNoiseRecognitionSettings

    settings: DirectNoiseRecognitionSettings

    @property
    def joint(self) -> bool:
        """Frozen recognisers take no gradient."""
        return False

    def prepare(self, sequences: Callable[[], Iterable[tuple[int, Tensor, Tensor]]]) -> None:
        """Train the recognisers on replaced sequences for ``dnr_epochs``, then freeze them."""
        optimizer = RecognizerWeighting.build_optimizer(self)
        device = self.item_frequency.device
        for _ in range(self.settings.dnr_epochs):
            for group, history, target in sequences():
                optimizer.zero_grad()
                self._recognition_loss(group, history.to(device), target.to(device)).backward()
                optimizer.step()
        self.recognizers.requires_grad_(False)
        self.optimizer = None

    def build_optimizer(self) -> None:  # type: ignore[override]
        """Return None: nothing of the strategy is trained beside the recommender."""
        return
