"""What gives scores to inputs: RecBole's model, or what it was exported to."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.serving.inputs import Batch, Signature


class Scorer(Protocol):
    """Gives scores to inputs."""

    signature: Signature

    def __call__(self, batch: Batch) -> Tensor:
        """Return scores ``[B, n_items]`` of all items, or ``[B]`` of the rows' own items."""


class ModelScorer:
    """A model of RecBole's.

    Args:
        model: The bare model, in evaluation mode.
        signature: What it reads.
        n_items: Number of items, the padding included.
    """

    def __init__(self, model: Any, signature: Signature, n_items: int) -> None:
        self.signature = signature
        self._model, self._n_items = model, n_items

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Return the model's own scores."""
        interaction = Interaction(batch)
        if self.signature.scores_all:
            scores: Tensor = self._model.full_sort_predict(interaction)
            return scores.view(-1, self._n_items)
        found: Tensor = self._model.predict(interaction)
        return found.flatten()
