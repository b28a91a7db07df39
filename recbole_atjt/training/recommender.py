"""The recommender with its loss reweighted: trains denoised, predicts as the bare model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor, nn

from recbole_atjt.data.clean import Truth
from recbole_atjt.data.clicks import clicks_in_order
from recbole_atjt.data.loaders import GroupOf, PairedBatch
from recbole_atjt.errors import UsageError
from recbole_atjt.host.gelu import speed_up_gelu
from recbole_atjt.host.last_layer import speed_up_last_layer
from recbole_atjt.host.lookup import speed_up_embeddings
from recbole_atjt.model.staged import refuse_staged
from recbole_atjt.noise.planting import planted_truth
from recbole_atjt.parallel.share import Share, SplitRows
from recbole_atjt.seam.checks import Checks
from recbole_atjt.seam.criterion import Seam
from recbole_atjt.seam.other_histories import OtherHistories
from recbole_atjt.seam.reduction import repeat_for_negatives
from recbole_atjt.seam.representation import Representations
from recbole_atjt.seam.scores import Scores
from recbole_atjt.training.streams import common_numbers
from recbole_atjt.weighting.base import Evidence, Judgement, Weighting
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.table import build_weighting, weighting_of


class DenoisingRecommender(AbstractRecommender):
    """Any RecBole model, trained on weighted sequences.

    ``predict``, ``full_sort_predict``, ``state_dict``, ``parameters`` and every other attribute
    are those of the wrapped model; recognisers live beside it and are used in training only.

    Args:
        recommender: A RecBole model, built as usual.
        config: RecBole's ``Config`` (or ours); our keys that it lacks take their defaults.
        dataset: The training dataset (``train_data.dataset``).
        weighting: A strategy; by default the one that ``config["weighting"]`` names.

    Raises:
        UsageError: The model hides its per-sample loss, or lacks what the strategy needs.
    """

    def __init__(
        self,
        recommender: AbstractRecommender,
        config: Any,
        dataset: Any,
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__()
        self.recommender = recommender
        self.type = recommender.type  # a method of nn.Module has that name, so no __getattr__
        name = weighting_of(config)
        if weighting is None:
            weighting = build_weighting(config, _item_frequency(dataset))
        if weighting is not None:
            refuse_staged(type(recommender), name)
            speed_up_gelu(recommender)
            speed_up_last_layer(recommender)
            for learning in (recommender, weighting):
                speed_up_embeddings(learning)
        self.weighting = weighting
        self.seam = Seam(recommender) if weighting is not None else None
        self._epoch = 0
        self._truth = planted_truth(config) or Truth.of(config, dataset)
        self.user_field, self.item_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.history_field = self.item_field + config["LIST_SUFFIX"]
        self.label_field = config["LABEL_FIELD"]
        self.negative_field = config["NEG_PREFIX"] + self.item_field
        self.n_items = dataset.item_num
        if weighting is not None and weighting.needs_history:
            self._require_history(dataset, name)
        if weighting is not None and weighting.reads_clicks:
            weighting.meet(lambda: Clicks(*clicks_in_order(dataset)))
        self._others = OtherHistories(recommender, dataset)
        self.checks = Checks.on(config["device"])
        self._views: Representations | None = None
        if weighting is not None and weighting.needs_representation:
            self._views = Representations(recommender, dataset)
        self.to(config["device"])

    def _require_history(self, dataset: Any, name: str) -> None:
        if self.history_field not in dataset.inter_feat:
            raise UsageError(
                f"weighting={name} needs histories ({self.history_field}), "
                f"which {type(self.recommender).__name__} on this dataset has none of: use a "
                "sequential model, or a context-aware one with recbole_atjt's datasets"
            )

    def calculate_loss(self, interaction: Interaction) -> Tensor | tuple[Tensor, ...]:
        """Return ``L^R``, and the strategy's own scaled loss beside it where it has one.

        Of several processes each computes its share of the batch, while the strategy sees all of
        it on each.

        Args:
            interaction: A batch; a :class:`PairedBatch` also carries other groups' sequences.
        """
        if self.weighting is None or self.seam is None:
            loss: Tensor | tuple[Tensor, ...] = self.recommender.calculate_loss(interaction)
            return loss
        weighting = self.weighting
        rows, group = len(interaction), getattr(interaction, "group", 0)
        sequences = getattr(interaction, "sequences", None) or rows
        share = Share.of(sequences, rows)
        own = interaction if share.processes == 1 else share.cut(interaction)
        if share.processes == 1 and weighting.passes:
            weighting.let_pass(sequences)
            plain: Any = self.recommender.calculate_loss(own)
            return self._with_extra(weighting, plain, interaction, group)

        def weigh(loss: Tensor) -> Tensor:
            with common_numbers():
                evidence = self._evidence(interaction, own, share, loss, group, record.scores)
                weights: Tensor = weighting(evidence)
            if weights.shape == (sequences,):
                weights = repeat_for_negatives(weights, rows)
            return share.own(weights)

        watching = self._views.watching() if self._views is not None else nullcontext()
        with watching, self.seam.reducing(weigh, len(own), self.checks) as record:
            weighted = self.recommender.calculate_loss(own)
        with common_numbers():
            return self._with_extra(weighting, weighted, interaction, group)

    def _with_extra(
        self, weighting: Weighting, weighted: Any, interaction: Interaction, group: GroupOf
    ) -> Tensor | tuple[Tensor, ...]:
        """Return a weighted loss with the strategy's own beside it, where it has one."""
        parts = weighted if isinstance(weighted, tuple) else (weighted,)
        if not weighting.wants_other_groups:
            own = weighting.evidence_loss()
            return weighted if own is None else (*parts, own)
        others = interaction.others if isinstance(interaction, PairedBatch) else None
        if others is None:  # more batches than other sequences: this one goes without
            return (*parts, torch.zeros_like(parts[0]))
        assert isinstance(group, int)
        extra = weighting.auxiliary_loss(group, *others)
        return weighted if extra is None else (*parts, extra)

    @torch.no_grad()
    def judge(self, interaction: Interaction, groups: Sequence[int]) -> tuple[Tensor, Judgement]:
        """Return each sequence's loss and what the strategy says of it; nobody learns from it.

        Dropout is off, and neither model nor strategy changes.

        Args:
            interaction: A batch as ``calculate_loss`` takes it.
            groups: Groups of which the sequences may be; what is said for each is averaged.

        Returns:
            Losses ``[S]`` and the judgement.
        """
        assert self.weighting is not None
        assert self.seam is not None
        weighting, rows = self.weighting, len(interaction)
        sequences = getattr(interaction, "sequences", None) or rows
        said: list[Judgement] = []

        def listen(loss: Tensor) -> Tensor:
            share = Share(sequences, rows, 0, 1)
            evidence = self._evidence(
                interaction, interaction, share, loss, groups[0], record.scores
            )
            said.extend(weighting.judge(replace(evidence, group=group)) for group in groups)
            return torch.ones_like(loss)

        watching = self._views.watching() if self._views is not None else nullcontext()
        training = self.recommender.training
        self.recommender.eval()
        try:
            with watching, self.seam.reducing(listen, rows) as record:
                self.recommender.calculate_loss(interaction)
        finally:
            self.recommender.train(training)
        assert record.loss is not None
        noise = [one.noise for one in said if one.noise is not None]
        return record.loss[:sequences], Judgement(
            torch.stack([one.weight for one in said]).mean(0),
            torch.stack(noise).mean(0) if noise else None,
        )

    def require_trainer(self, trainer: Any) -> None:
        """Refuse a trainer that knows nothing of a strategy's optimiser, phases and epochs.

        Raises:
            UsageError: Sequences are weighted, and the trainer is of RecBole's.
        """
        if self.weighting is not None and not getattr(trainer, "trains_weighted", False):
            raise UsageError(
                f"{type(trainer).__name__} trains no recogniser: train a DenoisingRecommender by "
                "recbole_atjt.DenoisingTrainer"
            )

    def start_epoch(self, epoch: int) -> None:
        """Tell the strategy which epoch begins; called by the trainer alone."""
        self._epoch = epoch
        if self.weighting is not None:
            self.weighting.start_epoch(epoch)

    def _evidence(
        self,
        interaction: Interaction,
        own: Interaction,
        share: Share,
        loss: Tensor,
        group: GroupOf,
        scores: Scores,
    ) -> Evidence:
        """Return what a strategy sees of a batch, of which this process computes ``own``."""
        history = label = None
        sequences = share.sequences
        if self.history_field in interaction:
            history = interaction[self.history_field][:sequences]
        if self.label_field in interaction:
            label = interaction[self.label_field]
        items = interaction[self.item_field]
        item, negative = items[:sequences], None
        if self.negative_field in interaction:
            negative = interaction[self.negative_field]
        elif label is not None and len(items) > sequences:
            negative = items[sequences:]
        pair = None
        if scores.positive is not None and scores.negative is not None:
            pair = share.whole(scores.positive), share.whole(scores.negative)
        true, others = self._truth.holds(interaction), self._others
        representation = item_embedding = None
        if self._views is not None:
            representation = share.whole(self._views.representation(own, share.length))
            item_embedding = self._views.item_embedding(item)
        return Evidence(
            loss=share.whole(loss),
            user=interaction[self.user_field][:sequences],
            item=item,
            history=history,
            label=label,
            epoch=self._epoch,
            group=group,
            representation=representation,
            item_embedding=item_embedding,
            logits=self._logits_of(scores, share),
            pair=pair,
            negative=negative,
            all_items=partial(others.all_items, interaction) if others.scores_all else None,
            swapped=partial(others.swapped, interaction) if others.scores_single else None,
            under=partial(others.under, interaction) if others.scores_single else None,
            knows_users=others.knows_users(interaction, self.user_field),
            true=None if true is None else true[:sequences],
        )

    def _logits_of(self, scores: Scores, share: Share) -> Any:
        """Return the scores of all items for each sequence; None where there are none."""
        logits = scores.logits
        if logits is None or len(logits) != share.length or logits.shape[1] < self.n_items:
            return None
        logits = logits[:, : self.n_items]  # S3Rec's have a column more, for its mask
        return logits if share.processes == 1 else SplitRows(logits, share)

    def predict(self, interaction: Interaction) -> Tensor:
        """Return the wrapped model's scores, ``[B]``."""
        return self.recommender.predict(interaction)  # type: ignore[no-any-return]

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Return the wrapped model's scores of all items, ``[B * n_items]``."""
        return self.recommender.full_sort_predict(interaction)  # type: ignore[no-any-return]

    def other_parameter(self) -> dict[str, Any]:
        """Return what the wrapped model keeps beside its parameters."""
        return self.recommender.other_parameter()  # type: ignore[no-any-return]

    def load_other_parameter(self, para: dict[str, Any] | None) -> None:
        """Give the wrapped model back what it keeps beside its parameters."""
        self.recommender.load_other_parameter(para)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the wrapped model's state, names included."""
        return self.recommender.state_dict(*args, **kwargs)  # type: ignore[no-any-return]

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load a state of the bare model."""
        return self.recommender.load_state_dict(state_dict, *args, **kwargs)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the wrapped model's parameters: the recognisers have an optimiser of their own."""
        yield from self.recommender.named_parameters(prefix, recurse, remove_duplicate)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("recommender"), name)

    def __str__(self) -> str:
        return str(self.recommender)


def _item_frequency(dataset: Any) -> Tensor:
    """Count the training targets of each item, ``[n_items]``."""
    items = dataset.inter_feat[dataset.iid_field]
    return torch.bincount(items, minlength=dataset.item_num)
