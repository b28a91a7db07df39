"""Weighted mean: the only place where per-sample losses become a scalar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.seam.checks import Checks
from recbole_atjt.seam.scores import Scores


def weighted_mean(loss: Tensor, weights: Tensor, share: Tensor | None = None) -> Tensor:
    r"""Return the batch's weighted loss, ATJT's Eq. 1.

    .. math:: L = \frac{1}{|b|} \sum_i share_i \, w_i \, l_i

    The divisor is the batch size, never the sum of the weights: a batch of noisy sequences then
    moves the model less than a batch of clean ones.

    Args:
        loss: Per-sample losses l, ``[B]``.
        weights: Weights w, ``[B]``.
        share: How much a sample counts in the model's own mean, relative to ``1/B``, ``[B]``;
            None where all count the same.

    Returns:
        A scalar, in at least 32 bits.

    Raises:
        ValueError: A shape is not ``[B]``. ``[B, 1]`` is refused: with ``[B]`` it would broadcast.
    """
    for name, values in (("loss", loss), ("weights", weights), ("share", share)):
        if values is not None and (values.dim() != 1 or values.shape != loss.shape):
            raise ValueError(
                f"{name} has shape {tuple(values.shape)}, but one value for each sample of the "
                f"batch is needed: loss {tuple(loss.shape)}"
            )
    weighted = loss.to(torch.promote_types(loss.dtype, torch.float32)) * weights
    if share is not None:
        weighted = weighted * share
    return weighted.mean()


def repeat_for_negatives(weights: Tensor, rows: int) -> Tensor:
    """Give a sequence's weight to the rows of its sampled negatives too.

    RecBole repeats a whole batch for its negatives, so row j belongs to sequence ``j % P``.

    Args:
        weights: One weight for each sequence, ``[P]``.
        rows: Number of rows of the batch, positives and negatives.

    Returns:
        ``[rows]``.

    Raises:
        ValueError: ``weights`` is not ``[P]``, or ``rows`` is no multiple of P.
    """
    if weights.dim() != 1:
        raise ValueError(f"weights have shape {tuple(weights.shape)} instead of one per sequence")
    sequences = weights.numel()
    if sequences == 0 or rows <= 0 or rows % sequences:
        raise ValueError(
            f"{rows} rows are no multiple of {sequences} sequences, so which row belongs to which "
            "sequence is unknown"
        )
    return weights if rows == sequences else weights.repeat(rows // sequences)


@dataclass
class Record:
    """What went through a reducer.

    Args:
        loss: Per-sample losses of the last call, detached, ``[rows]``; None before any call.
        share: The last call's share of each sample (see :func:`weighted_mean`); None if all equal.
        calls: How many losses came by.
        scores: What the last call compared, where the criterion shows it.
    """

    loss: Tensor | None = None
    share: Tensor | None = None
    calls: int = 0
    scores: Scores = field(default_factory=Scores)


class Reducer:
    """Weighs per-sample losses, reduces them, and records what it saw.

    Args:
        name: The model's name, for errors.
        weigh: Gives weights ``[rows]``, finite and at least 0, for losses ``[rows]``, which carry
            their graph.
        rows: Number of rows of the batch.
        checks: Takes what weights have to be; by default it is asked at once.
    """

    def __init__(
        self,
        name: str,
        weigh: Callable[[Tensor], Tensor],
        rows: int,
        checks: Checks | None = None,
    ) -> None:
        self.name, self.rows = name, rows
        self.checks = checks or Checks()
        self.record = Record()
        self._weigh = weigh

    def __call__(
        self,
        loss: Tensor,
        share: Tensor | None = None,
        own: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """Return the weighted mean of ``loss [rows]``, a scalar.

        Args:
            loss: Per-sample losses, ``[rows]``.
            share: See :func:`weighted_mean`.
            own: Gives the model's own reduction, whose gradients are rounded otherwise; it is taken
                where all weights are exactly 1, so that training is plain bit for bit. None where
                there is no need.
        """
        weights = self.weigh(loss, share)
        if own is None or weights.requires_grad:
            return weighted_mean(loss, weights, share)
        plain = (weights == 1).all()
        if not self.checks.waits:
            return torch.where(plain, own(), weighted_mean(loss, weights, share))
        return own() if bool(plain) else weighted_mean(loss, weights, share)

    def weigh(self, loss: Tensor, share: Tensor | None = None) -> Tensor:
        """Return the checked weights ``[rows]`` of ``loss [rows]``.

        Raises:
            UsageError: ``loss`` has not exactly one entry for each row of the batch.
            TrainingError: A weight is missing, negative or not finite.
        """
        if loss.shape != (self.rows,):
            raise UsageError(
                f"model={self.name} computes a loss of shape {tuple(loss.shape)} for a batch of "
                f"{self.rows} rows: it can't be weighted row by row without an adapter"
            )
        self.record.loss, self.record.share = loss.detach(), share
        self.record.calls += 1
        weights = self._weigh(loss)
        if weights.shape != loss.shape:
            raise TrainingError(
                f"weights have shape {tuple(weights.shape)} for {self.rows} rows: one weight for "
                "each row is needed"
            )
        self.checks.require(
            ((weights >= 0) & (weights < torch.inf)).all(),
            f"model={self.name} got a weight that is negative or not finite: weights must be "
            "finite and at least 0",
        )
        return weights
