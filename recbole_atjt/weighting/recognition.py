"""Weights from noise recognisers: ATJT and its ablations WAT and DNR (ATJT, 3.4 and 4.2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from recbole_atjt.data.corruption import Corruption
from recbole_atjt.recognizer import NoiseRecognizer
from recbole_atjt.weighting.base import Evidence, Weighting

if TYPE_CHECKING:
    from recbole_atjt.settings import Settings


class RecognizerWeighting(Weighting):
    """Weights ``w = g_n(s)`` from N recognisers, one for each group of users (Eq. 1)."""

    wants_groups = True
    needs_history = True
    free_scale = False

    def __init__(self, settings: Settings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.recognizers = nn.ModuleList(
            self._fresh() for _ in range(settings.atjt_groups if self.wants_groups else 1)
        )
        self.corruption = Corruption(
            popularity=item_frequency,
            replace=settings.atjt_replace,
            source=settings.atjt_replace_from,
            count=settings.atjt_replace_count,
            share=settings.atjt_noise_share,
        )
        self.optimizer: torch.optim.Optimizer | None = None
        self._scale = 1.0

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
        """Return ``w_i = g_n(s_i)``, normalised as the settings say, ``[S]``."""
        assert evidence.history is not None
        settings = self.settings
        with torch.set_grad_enabled(self.joint and torch.is_grad_enabled()):
            raw = self.recognize(evidence.group, evidence.history, evidence.item)
            self.report.weights.add(raw)
            weights = raw
            if settings.atjt_normalize == "mean":
                weights = raw / raw.mean().clamp_min(1e-8)
        if settings.atjt_scale_alpha:
            self._scale = float(evidence.loss.detach().mean())
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

    def _recognition_loss(self, group: int, history: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            history, target, label = self.corruption.corrupt(history, target)
        loss = self.recognizer(group).recognition_loss(history, target, label)
        self.report.recognizer_loss.add(loss)
        return loss


class AuxiliaryTaskJointTraining(RecognizerWeighting):
    """ATJT: recognisers trained jointly with the recommender on replaced sequences (3.4)."""

    wants_other_groups = True

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
    """WAT: the same network gives the weights, trained by ``L^R`` alone (4.2.3)."""

    wants_groups = False

    @property
    def joint(self) -> bool:
        """WAT has no other training signal than ``L^R``."""
        return True


class DirectNoiseRecognition(RecognizerWeighting):
    """DNR: recognisers are trained alone first, then frozen and used for weights (4.2.3)."""

    wants_other_groups = False

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

    def build_optimizer(self) -> None:  # type: ignore[override]
        """Return None: nothing of the strategy is trained beside the recommender."""
        return
