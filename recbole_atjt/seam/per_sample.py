"""Per-sample losses of a criterion: what it would give before it averages."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from recbole.model.loss import BPRLoss
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.errors import UsageError
from recbole_atjt.seam.scores import is_softmax

#: Loss types of torch and RecBole that serve as a model's main criterion.
KNOWN_TYPES = (
    nn.CrossEntropyLoss,
    nn.NLLLoss,
    nn.BCEWithLogitsLoss,
    nn.BCELoss,
    nn.MSELoss,
    BPRLoss,
)
#: The same as plain functions.
KNOWN_FUNCTIONS = (
    functional.cross_entropy,
    functional.nll_loss,
    functional.binary_cross_entropy_with_logits,
    functional.binary_cross_entropy,
    functional.mse_loss,
)


class Unreduced(NamedTuple):
    """A criterion's losses before reduction.

    Args:
        losses: Unreduced losses, ``[rows]`` or ``[rows, 1]`` where they can be weighted by row.
        share: How much each row counts in the criterion's own mean, relative to ``1/rows``,
            ``[rows]``; None where all count the same.
        reduction: What the criterion does with them: ``mean``, ``sum`` or ``none``.
    """

    losses: Tensor
    share: Tensor | None
    reduction: str


def unreduced(
    criterion: Any, rows: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Unreduced:
    """Return what ``criterion(*args, **kwargs)`` averages; its settings hold.

    Losses of torch are asked for it, ``BPRLoss`` is written out, and a criterion of another form
    is applied to each row by itself.

    Raises:
        UsageError: The criterion is no mean or sum of its rows' losses.
    """
    if is_known_function(criterion):
        given = inspect.signature(criterion).bind(*args, **kwargs).arguments
        losses = criterion(**{**given, "reduction": "none"})
        classifies = criterion in (functional.cross_entropy, functional.nll_loss)
        share = _class_share(given["target"], given, rows) if classifies else None
        return Unreduced(losses, share, given.get("reduction", "mean"))
    if hasattr(criterion, "reduction"):
        asked = copy.copy(criterion)
        asked.reduction = "none"
        share = None
        if isinstance(criterion, (nn.CrossEntropyLoss, nn.NLLLoss)):
            target = kwargs["target"] if "target" in kwargs else args[-1]
            settings = {"weight": criterion.weight, "ignore_index": criterion.ignore_index}
            share = _class_share(target, settings, rows)
        return Unreduced(asked(*args, **kwargs), share, criterion.reduction)
    if type(criterion).forward is BPRLoss.forward:
        positive, negative = inspect.signature(criterion.forward).bind(*args, **kwargs).args
        losses = -torch.log(criterion.gamma + torch.sigmoid(positive - negative))
        return Unreduced(losses, None, "mean")
    return _row_by_row(criterion, rows, args, kwargs)


def rounds_alike(criterion: Any, share: Tensor | None, asks: bool = True) -> bool:
    """Tell whether gradients of the mean of its losses are the criterion's own, bit for bit.

    Those of a softmax and of ``BPRLoss`` are; what is known of no other is not relied on.

    Args:
        criterion: As for :func:`unreduced`.
        share: What that gave.
        asks: Whether shares may be looked at, for which a GPU is waited for. If not, those of a
            softmax without class weights count as equal, and where targets are ignored, gradients
            are rounded otherwise.
    """
    if is_softmax(criterion):
        if not asks:
            return share is not None and getattr(criterion, "weight", None) is None
        return share is not None and bool((share == 1).all())
    return share is None and getattr(type(criterion), "forward", None) is BPRLoss.forward


def is_known_function(criterion: Any) -> bool:
    """Whether ``criterion`` is one of torch's loss functions."""
    return any(criterion is function for function in KNOWN_FUNCTIONS)


def _class_share(target: Tensor, settings: Mapping[str, Any], rows: int) -> Tensor | None:
    """Return the share of each sample, ``[rows]``: torch's mean runs over targets not ignored.

    With class weights, it is divided by the sum of the targets' class weights.
    """
    if target.is_floating_point():
        return None
    counted = target.flatten() != settings.get("ignore_index", -100)
    weight = settings.get("weight")
    total = counted.sum() if weight is None else weight[target.flatten()[counted]].sum()
    share: Tensor = counted * (rows / total)
    return share


def _row_by_row(
    criterion: Callable[..., Tensor], rows: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Unreduced:
    """Apply a criterion of unknown form to each row by itself; the rows must make up the whole."""
    values = [*args, *kwargs.values()]
    per_row = [torch.is_tensor(value) and value.shape[:1] == (rows,) for value in values]

    def one(*row: Any) -> Tensor:
        row = tuple(v.unsqueeze(0) if split else v for v, split in zip(row, per_row))
        return criterion(*row[: len(args)], **dict(zip(kwargs, row[len(args) :])))

    whole = criterion(*args, **kwargs).detach()
    in_dims = tuple(0 if split else None for split in per_row)
    losses: Tensor = torch.func.vmap(one, in_dims=in_dims)(*values)
    for reduction, total in (("mean", losses.mean()), ("sum", losses.sum())):
        if losses.dim() == 1 and torch.allclose(total.detach(), whole, rtol=1e-4, atol=1e-6):
            return Unreduced(losses, None, reduction)
    raise UsageError(
        f"{type(criterion).__name__} is neither the mean nor the sum of its rows' losses: it "
        "can't be weighted row by row"
    )
