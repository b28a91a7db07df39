"""The contract of a weighting strategy; nothing here knows RecBole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from recbole_atjt.settings import Settings


@dataclass(frozen=True)
class Evidence:
    """What a strategy may look at when it weighs a batch of S sequences in B rows.

    A sequence and its sampled negatives are rows ``j, j + S, j + 2S, ...``, as RecBole lays them.

    Args:
        loss: Per-sample loss of the recommender with its graph, ``[B]``.
        user: ``[S]``.
        item: Target item of each sequence, ``[S]``.
        history: Item ids, 0 where padded, ``[S, L]``; None where the model's data has none.
        label: ``[B]``, 1 or 0; None where every row is a positive.
        epoch: Current epoch, from 0.
        group: Group of users the batch is from, in ``0 .. N-1``.
        representation: The model's representation of each sequence, or of its user, detached,
            ``[S, d]``; None unless the strategy ``needs_representation``.
        item_embedding: The model's embedding of each target item, detached, ``[S, e]``; None as
            well.
    """

    loss: Tensor
    user: Tensor
    item: Tensor
    history: Tensor | None = None
    label: Tensor | None = None
    epoch: int = 0
    group: int = 0
    representation: Tensor | None = None
    item_embedding: Tensor | None = None


@dataclass
class RunningMoments:
    """Mean and variance of the weights of an epoch, gathered without keeping them."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        """Take in ``values`` of any shape."""
        values = values.detach()
        self.count += values.numel()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())

    @property
    def mean(self) -> float:
        """Mean of all values; NaN where there are none."""
        return self.total / self.count if self.count else float("nan")

    @property
    def variance(self) -> float:
        """Variance of all values; NaN where there are none."""
        if not self.count:
            return float("nan")
        return max(0.0, self.squares / self.count - self.mean**2)


@dataclass
class EpochReport:
    """What a strategy has to say about an epoch.

    Args:
        weights: Weights before a strategy normalises them; the applied ones where it adds none.
        true_positive: Applied weights of sequences whose target is known to be no noise.
        false_positive: Applied weights of sequences whose target is known to be noise.
        recognizer_loss: ``L^D`` of each batch.
    """

    weights: RunningMoments = field(default_factory=RunningMoments)
    true_positive: RunningMoments = field(default_factory=RunningMoments)
    false_positive: RunningMoments = field(default_factory=RunningMoments)
    recognizer_loss: RunningMoments = field(default_factory=RunningMoments)


class Weighting(nn.Module):
    """Gives every sequence of a batch a weight.

    Args:
        settings: All settings of this package.
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.

    Subclasses override :meth:`weigh`, and the other verbs where they need them. Weights are
    finite and at least 0, one for each sequence (``[S]``, shared with its sampled negatives) or
    one for each row (``[B]``).
    """

    #: Users are dealt into groups, and an epoch walks through them.
    wants_groups = False
    #: Sequences of users in other groups are wanted beside each batch (``L^D``).
    wants_other_groups = False
    #: The strategy reads ``Evidence.history``.
    needs_history = False
    #: The strategy reads ``Evidence.representation`` and ``Evidence.item_embedding``.
    needs_representation = False
    #: The strategy learns from a validation metric: :meth:`receive_reward` is called.
    wants_reward = False
    #: Any mean weight is fine, so none is warned about.
    free_scale = True
    #: Config keys of a strategy from another package, with defaults; read as ``settings.own[key]``.
    own_keys: ClassVar[Mapping[str, Any]] = {}

    item_frequency: Tensor

    def __init__(self, settings: Settings, item_frequency: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("item_frequency", item_frequency)
        self.report = EpochReport()

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the weights of a batch, ``[S]`` or ``[B]``."""
        raise NotImplementedError

    def auxiliary_loss(self, group: int, history: Tensor, target: Tensor) -> Tensor | None:
        """Return the strategy's own loss on sequences of the other groups, already scaled.

        Args:
            group: The phase's group; the sequences are from users outside it.
            history: ``[D, L]`` item ids.
            target: ``[D]`` item ids.

        Returns:
            A scalar, or None where the strategy has no loss of its own.
        """
        return None

    def phases(self, epoch: int) -> list[int]:
        """Return the groups that an epoch walks through, in order."""
        return list(range(self.settings.atjt_groups)) if self.wants_groups else [0]

    def prepare(self, sequences: Callable[[], Iterable[tuple[int, Tensor, Tensor]]]) -> None:
        """Train what must be trained before the recommender; called once by the trainer.

        Args:
            sequences: Yields ``(group, history [D, L], target [D])`` of the users outside each
                group, once around.
        """

    def recognize(self, group: int, history: Tensor, target: Tensor) -> Tensor | None:
        """Return the raw weights of sequences of ``group``, ``[S]``; None without a recogniser."""
        return None

    def build_optimizer(self) -> torch.optim.Optimizer | None:
        """Return the optimiser of the strategy's own parameters, or None if it has none."""
        return None

    def receive_reward(self, reward: float) -> None:
        """Learn from the validation metric of the epoch that was just trained.

        Args:
            reward: A metric of the recommender on validation data, higher is better.
        """

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch; called by the trainer alone."""
        self.report = EpochReport()

    def end_epoch(self, epoch: int) -> None:
        """Close an epoch; called by the trainer alone."""
