"""Whether an exported model gives the scores of the one it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.serving.inputs import Batch, InputMaker, Signature
from recbole_atjt.serving.ranking import Encoded, arrays_of
from recbole_atjt.serving.scorers import Scorer

#: Largest difference that is let through, as a share of the largest score, at least of 1.
TOLERANCE = 1e-4
#: Batches of these sizes are compared: graphs like to fix the size that they were traced with.
SIZES = (1, 2, 7, 256)
_NOTHING = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Parity:
    """How far scores lie apart.

    Args:
        difference: The largest absolute difference; NaN where scores are missing.
        allowed: The largest one that is let through.
        scores: Number of scores that were compared.
    """

    difference: float
    allowed: float
    scores: int

    @property
    def holds(self) -> bool:
        """Whether the difference is let through."""
        return self.difference <= self.allowed


def compare(model: Scorer, exported: Scorer, catalogue: Catalogue, seed: int = 0) -> Parity:
    """Compare the scores of a model with those of what it was exported to.

    Args:
        model: The model.
        exported: What it was exported to.
        catalogue: Names, clicks and features.
        seed: Of the users, histories and items that are scored.
    """
    difference, largest, count = 0.0, 1.0, 0
    for batch in _batches(model.signature, catalogue, seed):
        expected, found = model(batch).double(), exported(batch).double()
        if found.shape != expected.shape:
            return Parity(float("nan"), TOLERANCE, count)
        finite = expected.isfinite()
        same = finite & found.isfinite() | (expected == found)
        if not same.all():
            return Parity(float("nan"), TOLERANCE, count)
        apart = (expected[finite] - found[finite]).abs()
        difference = max(difference, float(apart.max()) if len(apart) else 0.0)
        largest = max(largest, float(expected[finite].abs().max()) if len(apart) else 0.0)
        count += expected.numel()
    return Parity(difference, TOLERANCE * largest, count)


def _batches(signature: Signature, catalogue: Catalogue, seed: int) -> Iterator[Batch]:
    maker, draw = InputMaker(signature, catalogue), np.random.default_rng(seed)
    for size in SIZES:
        yield batch_of(maker, catalogue, draw, size)


def batch_of(
    maker: InputMaker, catalogue: Catalogue, draw: np.random.Generator, size: int
) -> Batch:
    """Return inputs of random known users, with histories of random lengths, ``[size, ...]``."""
    signature = maker.signature
    n_items = len(catalogue.items)
    users = draw.integers(1, max(2, len(catalogue.users)), size)
    lengths = draw.integers(1, signature.history + 1, size)
    lengths[0] = signature.history  # one is full
    queries = [
        Encoded(int(user), draw.integers(1, n_items, length), _NOTHING)
        for user, length in zip(users, lengths)
    ]
    arrays = arrays_of(queries, signature.history)
    if signature.scores_all:
        return maker.of_queries(*arrays)
    return maker.of_rows(*arrays, torch.from_numpy(draw.integers(1, n_items, size)))
