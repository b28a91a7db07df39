"""The seam: per-sample losses out of any RecBole model, for the length of a ``with`` block."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.seam.adapters import find_adapter
from recbole_atjt.seam.checks import Checks
from recbole_atjt.seam.per_sample import KNOWN_TYPES, is_known_function, rounds_alike, unreduced
from recbole_atjt.seam.reduction import Record, Reducer
from recbole_atjt.seam.scores import scores_of
from recbole_atjt.seam.substitution import substituted

#: Names that RecBole's models give their main criterion.
_MAIN_NAMES = ("loss_fct", "loss", "loss_fn", "bpr_loss")
#: An attribute so named holds an extra term: a regulariser or a contrastive loss.
_EXTRA_NAME = re.compile(r"(^|_)(reg|emb|aug|nce|ssl|aux|kl)(_|$)|_reg|^reg")


class Seam:
    """Where a model's main loss can be weighted sample by sample.

    The model's criterion is found by RecBole's conventions: the attribute that the model names in
    ``main_criterion`` if it does, else an attribute ``loss_fct``, ``loss``, ``loss_fn`` or
    ``bpr_loss``, else the only attribute that holds a loss of torch or RecBole. Models that hide
    their loss from this go through an adapter (:mod:`recbole_atjt.adapters`).

    Args:
        model: A RecBole model.

    Raises:
        UsageError: The model hides its loss.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.name = type(model).__name__
        self._main: str = getattr(model, "main_criterion", None) or ""
        self._adapter = None if self._main else find_adapter(model)
        if not self._main and self._adapter is None:
            self._main = find_criterion(model)

    @contextmanager
    def reducing(
        self, weigh: Callable[[Tensor], Tensor], rows: int, checks: Checks | None = None
    ) -> Iterator[Record]:
        """Let ``model.calculate_loss(batch)`` in the block return its weighted loss.

        The main loss of each row is weighted; regularisers and contrastive terms are not. Outside
        the block the model is as it was.

        Args:
            weigh: Gives weights ``[rows]`` for the losses ``[rows]``, which carry their graph.
            rows: ``len(batch)``.
            checks: Takes what weights have to be; by default it is asked at once.

        Yields:
            The record, filled by ``calculate_loss``.

        Raises:
            UsageError: No loss came by, or one that has not exactly ``rows`` entries.
            TrainingError: A weight is negative or not finite.
        """
        reducer = Reducer(self.name, weigh, rows, checks)
        if self._adapter is not None:
            swapping = self._adapter.swapping(self.model, reducer)
        else:
            swapping = weighting(self.model, self._main, reducer)
        with swapping:
            yield reducer.record
        if not reducer.record.calls:
            raise UsageError(_hides_its_loss(self.name))


@contextmanager
def weighting(model: nn.Module, name: str, reducer: Reducer) -> Iterator[None]:
    """Swap the criterion ``model.name`` for one that weighs its losses before it reduces them."""
    criterion = getattr(model, name)
    if isinstance(getattr(criterion, "__self__", criterion), _Weighted):
        raise RuntimeError(f"the seam of {type(model).__name__} is in use already")
    weighted = _Weighted(criterion, reducer)
    is_module = isinstance(criterion, nn.Module)
    with substituted(model, name, weighted if is_module else weighted.forward):
        yield


class _Weighted(nn.Module):
    def __init__(self, criterion: Callable[..., Tensor], reducer: Reducer) -> None:
        super().__init__()
        vars(self)["criterion"] = criterion  # not as a child: no part of the model's state
        self.reducer = reducer

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return a scalar, or weighted elements where the original leaves the mean to the model."""
        rows = self.reducer.rows
        losses, share, reduction = unreduced(self.criterion, rows, args, kwargs)
        self.reducer.record.scores = scores_of(self.criterion, rows, args)
        loss = losses.flatten() if losses.shape[:1] == (rows,) else losses
        if reduction == "none":
            return losses * self.reducer.weigh(loss).view_as(losses)
        if reduction == "sum":
            share = torch.full_like(loss, rows)
        own = None
        if not rounds_alike(self.criterion, share, self.reducer.checks.waits):
            own = partial(self._plain, *args, **kwargs)
        return self.reducer(loss, share, own)

    def _plain(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the criterion itself makes of its losses."""
        criterion: Callable[..., Tensor] = vars(self)["criterion"]
        return criterion(*args, **kwargs)


def find_criterion(model: nn.Module) -> str:
    """Return the name of the attribute that holds the model's main criterion.

    Raises:
        UsageError: There is none, or more than one could be it.
    """
    attributes = [*model._modules.items(), *vars(model).items()]
    known = [name for name, value in attributes if _is_criterion(name, value)]
    found = [name for name in _MAIN_NAMES if name in known] or known
    if not found:
        raise UsageError(_hides_its_loss(type(model).__name__))
    if len(found) > 1:
        raise UsageError(
            f"model={type(model).__name__} has several criteria ({', '.join(found)}): name the "
            "main one in its attribute main_criterion"
        )
    return found[0]


def _is_criterion(name: str, value: Any) -> bool:
    if _EXTRA_NAME.search(name):
        return False
    named = name in _MAIN_NAMES and isinstance(value, nn.Module)
    return named or isinstance(value, KNOWN_TYPES) or is_known_function(value)


def _hides_its_loss(name: str) -> str:
    return (
        f"model={name} hides its loss, so it can't be weighted: keep the main criterion in an "
        "attribute such as loss_fct, or register an adapter (recbole_atjt.adapters)"
    )
