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
        return scores_of(self._model, Interaction(batch), self.signature, self._n_items)


def scores_of(model: Any, batch: Any, signature: Signature, n_items: int) -> Tensor:
    """Return a model's scores, ``[B, n_items]`` of all items or ``[B]`` of the rows' own.

    Args:
        model: The bare model.
        batch: What it reads, by name.
        signature: How it is asked.
        n_items: Number of items, the padding included.
    """
    if signature.scores_all:
        scores: Tensor = model.full_sort_predict(batch)
        return scores.reshape(-1, n_items)
    found: Tensor = model.predict(batch)
    return found.flatten()
