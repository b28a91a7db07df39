"""Scores of a batch's items under the histories of other rows, by the model's own verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor, nn

from recbole_atjt.dropout import FastDropout
from recbole_atjt.host.traits import gives_probabilities, traits_of
from recbole_atjt.randomness import kept

_SMALLEST = 1e-7
#: Rows whose users are exchanged to see whether the model knows them.
_PROBED = 64


class OtherHistories:
    """Scores items under histories that they do not belong to, in the middle of a training step.

    Random states, attributes that the model sets while it predicts, and the statistics of batch
    normalisation are left as they were. Dropout is what it is in the step, by cheaper random
    numbers: nobody else draws from them.

    Args:
        model: A RecBole model.
        dataset: The training dataset, which knows the fields of items.
    """

    def __init__(self, model: Any, dataset: Any) -> None:
        self.model, self.n_items = model, dataset.item_num
        features = getattr(dataset, "item_feat", None)
        columns = [] if features is None else list(features.columns)
        self.item_fields = list(dict.fromkeys([dataset.iid_field, *columns]))
        traits = traits_of(model)
        self._probabilities = gives_probabilities(model)
        self._ranks_by_logits = traits.ranks_by_logits or not self._probabilities
        ranks = type(model).full_sort_predict is not AbstractRecommender.full_sort_predict
        #: Whether the model scores all items of a history at once, and single items.
        self.scores_all, self.scores_single = ranks, traits.scores_single_items
        self._knows_users: bool | None = None
        self._normalisers = [
            module
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        self._dropouts = [
            (parent._modules, name, FastDropout(child.p))
            for parent in model.modules()
            for name, child in parent.named_children()
            if type(child) is nn.Dropout and child.p < 1.0
        ]

    def all_items(self, interaction: Any, rows: Tensor) -> Tensor:
        """Return logits of all items under the histories of a batch's rows, ``[K, n_items]``.

        Args:
            interaction: The batch.
            rows: Rows of the batch, ``[K]``.
        """
        with self._undisturbed():
            scores: Tensor = self.model.full_sort_predict(_rows(interaction, rows))
        scores = scores.float().view(len(rows), -1)[:, : self.n_items]
        return scores if self._ranks_by_logits else _logit(scores)

    def swapped(self, interaction: Any, rows: Tensor) -> Tensor:
        """Return logits of the first S rows' targets under the histories of other rows, ``[S]``.

        The fields of the target go along with it, all others stay with the history. Targets move,
        since histories are long.

        Args:
            interaction: The batch.
            rows: For each target the row whose history takes the place of its own, a permutation
                of the first S rows, ``[S]``.
        """
        size = len(rows)
        target = torch.empty_like(rows)
        target[rows] = torch.arange(size, device=rows.device)
        mixed = interaction[:size]
        for field in self.item_fields:
            if field in mixed.interaction:
                mixed.interaction[field] = mixed.interaction[field][target]
        return self._single(mixed)[rows]

    def under(self, interaction: Any, rows: Tensor, targets: Tensor) -> Tensor:
        """Return logits of some rows' targets under the histories (and users) of others, ``[m]``.

        Args:
            interaction: The batch.
            rows: Rows whose histories count, ``[m]``.
            targets: Rows whose targets count, ``[m]``.
        """
        mixed = _rows(interaction, rows)
        for field in self.item_fields:
            if field in mixed.interaction:
                mixed.interaction[field] = interaction[field].index_select(0, targets)
        return self._single(mixed)

    def _single(self, mixed: Any) -> Tensor:
        """Return logits of rows, ``[m]``."""
        with self._undisturbed():
            scores: Tensor = self.model.predict(mixed).flatten().float()
        return _logit(scores) if self._probabilities else scores

    def knows_users(self, interaction: Any, field: str) -> bool:
        """Tell whether scores of single items change with the user's id alone.

        It is tried once, on rows of the first batch that has two users; of a model that scores all
        items at once it is not asked.

        Args:
            interaction: A batch.
            field: Column of the users.
        """
        if self._knows_users is None and (self.scores_all or not self.scores_single):
            self._knows_users = False
        if self._knows_users is None:
            size = len(interaction)
            users = interaction[field]
            rows = torch.linspace(0, size - 1, min(size, _PROBED), device=users.device)
            mixed = _rows(interaction, rows.long())
            own = mixed.interaction[field]
            other = own.roll(1, 0)
            if torch.equal(own, other):
                return False
            training = self.model.training
            with self._undisturbed():
                self.model.eval()
                before = self.model.predict(mixed)
                mixed.interaction[field] = other
                self._knows_users = not torch.equal(before, self.model.predict(mixed))
                self.model.train(training)
        return self._knows_users

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        attributes = dict(vars(self.model))
        learning = [module for module in self._normalisers if module.training]
        for module in learning:
            module.eval()
        plain = [children[name] for children, name, _ in self._dropouts]
        for (children, name, fast), dropout in zip(self._dropouts, plain):
            children[name] = fast.train(dropout.training)
        try:
            with kept(), torch.no_grad():
                yield
        finally:
            for (children, name, _), dropout in zip(self._dropouts, plain):
                children[name] = dropout
            for module in learning:
                module.train()
            vars(self.model).clear()
            vars(self.model).update(attributes)


def _rows(interaction: Any, rows: Tensor) -> Interaction:
    """Return rows of a batch; RecBole makes a list of their numbers for each column."""
    columns = interaction.interaction.items()
    return Interaction({name: values.index_select(0, rows) for name, values in columns})


def _logit(probability: Tensor) -> Tensor:
    return probability.clamp(_SMALLEST, 1 - _SMALLEST).logit()
