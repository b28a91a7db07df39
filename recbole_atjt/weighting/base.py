"""The contract of a weighting strategy; nothing here knows RecBole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_atjt.settings.declared import DeclaredSettings
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.report import EpochReport

#: The mean weight should stay inside; outside, weights have collapsed or do not weigh.
HEALTHY_MEAN_WEIGHT = (0.05, 0.95)


@dataclass(frozen=True)
class NoSettings(DeclaredSettings):
    """The settings of a strategy that has none."""


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
        group: Group of users the batch is from, in ``0 .. N-1``, or that of each sequence, ``[S]``.
        representation: The model's representation of each sequence, or of its user, detached,
            ``[S, d]``; None unless the strategy ``needs_representation``.
        item_embedding: The model's embedding of each target item, detached, ``[S, e]``; None as
            well.
        logits: Scores of all items for each sequence, up to a constant of each, detached,
            ``[S, n_items]``; None where the model's loss is no softmax over items.
        pair: Scores of each row's positive and sampled negative, detached, ``[B]`` each; None
            where the model's loss compares none.
        negative: Sampled negative items: of the rows after the first S where rows are labelled,
            ``[B - S]``, of each row where pairs are compared, ``[B]``; None where there are none.
        all_items: Scores all items under histories of the batch: given rows ``[K]``, it returns
            logits, detached, ``[K, n_items]``; None where the model can't, or ``logits`` are there.
        swapped: Scores each target under another history of the batch: given a row for each,
            all of them once, ``[S]``, it returns logits, detached, ``[S]``; None where it can't.
        under: Scores chosen targets under chosen histories of the batch: given rows of both,
            histories first, ``[m]`` each, it returns logits, detached, ``[m]``; None if it can't.
        knows_users: Whether the model's scores depend on the user's id, where it scores single
            items alone.
        left_out: Sequences that say nothing of the noise in others, ``[S]``; None for none.
        true: Whether each sequence's target is known to be no noise, ``[S]``; None where the data
            does not know. It goes into the report; a strategy that reads it is an oracle.
    """

    loss: Tensor
    user: Tensor
    item: Tensor
    history: Tensor | None = None
    label: Tensor | None = None
    epoch: int = 0
    group: int | Tensor = 0
    representation: Tensor | None = None
    item_embedding: Tensor | None = None
    logits: Tensor | None = None
    pair: tuple[Tensor, Tensor] | None = None
    negative: Tensor | None = None
    all_items: Callable[[Tensor], Tensor] | None = None
    swapped: Callable[[Tensor], Tensor] | None = None
    under: Callable[[Tensor, Tensor], Tensor] | None = None
    knows_users: bool = False
    left_out: Tensor | None = None
    true: Tensor | None = None


@dataclass(frozen=True)
class Judgement:
    """What a strategy says of S sequences that it does not learn from.

    Args:
        weight: Applied weight of each, ``[S]``.
        noise: Probability of each of being noise, ``[S]``; None where its weights say none.
    """

    weight: Tensor
    noise: Tensor | None


class Weighting(nn.Module):
    """Gives every sequence of a batch a weight.

    Args:
        settings: What ``settings_class`` declares.
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.

    Subclasses override :meth:`weigh`, and the other verbs where they need them. Weights are
    finite and at least 0, one for each sequence (``[S]``, shared with its sampled negatives) or
    one for each row (``[B]``).
    """

    #: Declares the strategy's config keys; ``self.settings`` is an instance of it.
    settings_class: ClassVar[type[DeclaredSettings]] = NoSettings
    #: Older form of ``settings_class``: keys with defaults alone, read as ``settings.own[key]``.
    own_keys: ClassVar[Mapping[str, Any]] = {}
    #: Config key that says into how many groups users are dealt; empty where there is one group.
    groups_key: ClassVar[str] = ""
    #: Sequences of users in other groups are wanted beside each batch (``L^D``).
    wants_other_groups = False
    #: Batches hold users of all groups, as plain training's do; else those of one group.
    mixes_groups = False
    #: The recommender may have to begin again (:attr:`begins_again`).
    may_begin_again = False
    #: The strategy reads ``Evidence.history``.
    needs_history = False
    #: The strategy reads ``Evidence.representation`` and ``Evidence.item_embedding``.
    needs_representation = False
    #: The strategy takes note of all training clicks (:meth:`meet`).
    reads_clicks = False
    #: Config key that names the validation metric which the strategy learns from by
    #: :meth:`receive_reward`; empty where it learns from none.
    reward_key: ClassVar[str] = ""
    #: The weight of a sequence does not depend on the other sequences of its batch.
    per_sample = True
    #: Any mean weight is fine, so none is warned about.
    free_scale = True
    #: What :meth:`weigh` gives after the warm-up are probabilities of being clean.
    weighs_by_probability = False

    item_frequency: Tensor

    def __init__(self, settings: Any, item_frequency: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("item_frequency", item_frequency)
        self.report = EpochReport()
        #: What :meth:`weigh` gave for the last batch, where that is a probability.
        self.last_clean: Tensor | None = None

    @classmethod
    def build(cls, settings: Any, item_frequency: Tensor) -> Weighting:
        """Build the strategy; one that has several forms chooses among them here."""
        return cls(settings, item_frequency)

    def forward(self, evidence: Evidence) -> Tensor:
        """Return the weights that a batch's losses are multiplied by, ``[S]`` or ``[B]``.

        They and what they were made of go into the report of a training epoch.
        """
        raw = self.weigh(evidence)
        if self.weighs_by_probability:
            self.last_clean = raw.detach()[: len(evidence.item)]
        weights = self.normalize(raw)
        if torch.is_grad_enabled():
            sequences = len(evidence.item)
            self.report.weights.add(raw)
            if evidence.true is not None and weights.shape in ((sequences,), evidence.loss.shape):
                self.report.note_truth(raw[:sequences], weights[:sequences], evidence.true)
        return weights

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return the weights of a batch, ``[S]`` or ``[B]``."""
        raise NotImplementedError

    @torch.no_grad()
    def judge(self, evidence: Evidence) -> Judgement:
        """Weigh a batch without learning from it; neither state nor report changes.

        Args:
            evidence: A batch; its ``group`` may be any, the strategy need not have met its users.
        """
        sequences, training = len(evidence.item), self.training
        self.eval()
        try:
            raw = self.weigh(evidence)
            weight = self.normalize(raw)[:sequences]
            clean = (
                self.clean_probability(evidence, raw)[:sequences]
                if self.weighs_by_probability
                else None
            )
        finally:
            self.train(training)
        return Judgement(weight, None if clean is None else 1.0 - clean.clamp(0.0, 1.0))

    def clean_probability(self, evidence: Evidence, weights: Tensor) -> Tensor:
        """Return the probability of each sequence of being clean, ``[S]``.

        Asked of strategies that weigh by probability; by default their weights are it.

        Args:
            evidence: A batch that :meth:`weigh` has just seen.
            weights: What it gave.
        """
        return weights

    def normalize(self, weights: Tensor) -> Tensor:
        """Bring what :meth:`weigh` gave into the form that is applied; as it is by default."""
        return weights

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

    @property
    def passes(self) -> bool:
        """Whether the next batch of training passes: weights of 1, and nothing to learn from it."""
        return False

    def let_pass(self, sequences: int) -> None:
        """Take note of a batch that passes, which :meth:`weigh` is not asked about.

        Args:
            sequences: How many it has.
        """
        self.last_clean = self.item_frequency.new_ones(sequences, dtype=torch.float32)

    def evidence_loss(self) -> Tensor | None:
        """Return the strategy's own loss on the sequences that it has just weighed, scaled.

        Returns:
            A scalar, or None where the strategy has no such loss.
        """
        return None

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items held most responsible for noise, with their share of it; none here."""
        return []

    @property
    def groups(self) -> int:
        """Number of user-disjoint groups."""
        return int(getattr(self.settings, self.groups_key)) if self.groups_key else 1

    @property
    def warm_up(self) -> int:
        """Number of first epochs in which its weights say nothing yet."""
        return 0

    @property
    def begins_again(self) -> bool:
        """Whether the recommender is to begin again from its first parameters.

        Asked after each epoch and after :meth:`conclude`; what the strategy has learned stays.
        """
        return False

    def conclude(self) -> None:
        """Take what is known for all that will be known: the training has ended.

        A strategy that has kept some of the data from the recommender asks for another beginning.
        """

    @property
    def joint(self) -> bool:
        """Whether the recommender's loss trains the strategy through the weights."""
        return False

    @property
    def reward(self) -> str:
        """Name of the validation metric that it learns from; empty where it learns from none."""
        return str(getattr(self.settings, self.reward_key)) if self.reward_key else ""

    def phases(self, epoch: int) -> list[int]:
        """Return the groups that an epoch walks through, in order, unless it mixes them."""
        return list(range(self.groups))

    def meet(self, clicks: Callable[[], Clicks], others: bool = False) -> None:
        """Take note of the training clicks; called before the training, if it reads them.

        Args:
            clicks: Gives all of them, of all groups, sorted when it is called.
            others: Whether they are those of users that it will judge and is not trained on.
        """

    def prepare(self, sequences: Callable[[], Iterable[tuple[int, Tensor, Tensor]]]) -> None:
        """Train what must be trained before the recommender; called once by the trainer.

        Args:
            sequences: Yields ``(group, history [D, L], target [D])`` of the users outside each
                group, once around.
        """

    def recognize(self, group: int, history: Tensor, target: Tensor) -> Tensor | None:
        """Return the raw weights of sequences of ``group``, ``[S]``; None without a recogniser."""
        return None

    def recognition(self) -> dict[str, Any] | None:
        """Return how it weighed original and replaced sequences in training; None by default."""
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

    def in_epoch(self) -> dict[str, Any]:
        """Return what the epoch has gathered so far that ``state_dict`` has not.

        A strategy with attributes of its own that change from batch to batch adds them. Values are
        tensors, numbers, texts, None, and dicts or lists of these.
        """
        return {"report": self.report.state()}

    def go_on_in_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on inside an epoch that was started, from what :meth:`in_epoch` gave."""
        self.report.load(state["report"], self.item_frequency.device)

    def describe(self) -> dict[str, float]:
        """Return the figures of the epoch that just ended, by name; ``mean_weight`` among them."""
        return self.report.figures()

    def complaint(self) -> str | None:
        """Say in one line what is unhealthy about the epoch that just ended; None if nothing is."""
        mean, (low, high) = self.report.weights.mean, HEALTHY_MEAN_WEIGHT
        if self.free_scale or low <= mean <= high:
            return None
        return f"the mean weight {mean:.3f} left [{low}, {high}]"

    def remedies(self) -> Sequence[str]:
        """Return keys of the strategy that may be made smaller where training fails."""
        return ()
