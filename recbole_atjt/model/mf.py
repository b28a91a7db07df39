"""Matrix factorisation with softmax loss, on the prefix windows of sequential models."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.loss import BPRLoss
from torch import Tensor, nn

from recbole_atjt.errors import UsageError


class MF(SequentialRecommender):
    """Matrix factorisation for ranking (AutoDenoise, 5.2.1): ``score(u, v) = <e_u, e_v>``.

    It is a sequential model that reads the user in place of the history. So it trains on, and is
    evaluated on, the same windows as GRU4Rec and SASRec, and every strategy goes with it.

    Args:
        config: RecBole's configuration; ``embedding_size`` is d, ``loss_type`` is CE (softmax
            over all items) or BPR (against one sampled item).
        dataset: The training dataset.

    Raises:
        UsageError: ``loss_type`` is another one.
    """

    #: Users outside training have no trained embedding, so the split by user does not go.
    reads_history = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.loss_type = config["loss_type"]
        if self.loss_type not in ("CE", "BPR"):
            raise UsageError(f"loss_type={self.loss_type} does not go with MF: use CE, BPR or BCE")
        size = config["embedding_size"]
        self.user_embedding = nn.Embedding(dataset.num(self.USER_ID), size, padding_idx=0)
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.loss_fct = BPRLoss() if self.loss_type == "BPR" else nn.CrossEntropyLoss()
        for table in (self.user_embedding, self.item_embedding):
            nn.init.xavier_normal_(table.weight)

    def forward(self, user: Tensor) -> Tensor:
        """Return the embeddings ``[B, d]`` of users ``[B]``."""
        embedded: Tensor = self.user_embedding(user)
        return embedded

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Return the mean loss of the targets given their users."""
        users, target = self.forward(interaction[self.USER_ID]), interaction[self.POS_ITEM_ID]
        if self.loss_type == "BPR":
            positive = (users * self.item_embedding(target)).sum(dim=-1)
            negative = (users * self.item_embedding(interaction[self.NEG_ITEM_ID])).sum(dim=-1)
            loss: Tensor = self.loss_fct(positive, negative)
        else:
            loss = self.loss_fct(users @ self.item_embedding.weight.T, target)
        return loss

    def predict(self, interaction: Interaction) -> Tensor:
        """Return the score of each row's item, ``[B]``."""
        users = self.forward(interaction[self.USER_ID])
        scores: Tensor = (users * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=-1)
        return scores

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Return the scores of all items, ``[B, n_items]``."""
        return torch.matmul(self.forward(interaction[self.USER_ID]), self.item_embedding.weight.T)
