"""Clicks that leave the histories while a model is trained, and with it thereafter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.data.history_mask import bits_of, marks_of
from recbole_atjt.data.windows import WindowBase, WindowColumns, Windows
from recbole_atjt.errors import UsageError
from recbole_atjt.host.vocabulary import clicks_of
from recbole_atjt.weighting.mask_key import MASK_KEY, mask_below


class Masking:
    """Leaves training clicks out of histories that the strategy holds for noise.

    A training target is judged once an epoch, in its batch. From the end of the warm-up on, each
    epoch's end decides anew which targets histories leave out, those of validation and test
    included. First clicks of users and targets of validation and test are never judged, so they
    stay.

    Args:
        dataset: The training set.
        weighting: The strategy.
        below: Probability of being clean below which a click is left out.
    """

    def __init__(self, dataset: Any, weighting: Any, below: float) -> None:
        columns: WindowColumns = dataset.inter_feat.interaction
        self._base, self._target = columns.base, columns.target.numpy()
        self._fields = dataset.uid_field, dataset.iid_field
        self._weighting, self._below = weighting, below
        self._said = torch.full((len(self._target),), torch.nan)

    @classmethod
    def of(cls, config: Any, dataset: Any, weighting: Any) -> Masking | None:
        """Return the one that a config asks for; None where it asks for none.

        Raises:
            UsageError: The model reads no histories that are made here.
        """
        below = mask_below(config)
        if below is None:
            return None
        reads = getattr(config.model_class, "reads_history", True)
        if not reads or not isinstance(dataset.inter_feat, Windows):
            raise UsageError(
                f"{MASK_KEY}={below} needs histories that are made here, which "
                f"model={config['model']} on this dataset has none of: use a sequential model, or "
                "a context-aware one with histories"
            )
        return cls(dataset, weighting, below)

    def start(self) -> None:
        """Forget what was said in the epoch before."""
        self._said.fill_(torch.nan)

    def note(self, rows: np.ndarray) -> None:
        """Take in what the strategy has just said of the training samples in ``rows [S]``."""
        self._said[torch.from_numpy(rows)] = self._weighting.last_clean.float().cpu()

    def close(self, epoch: int) -> None:
        """Decide which clicks histories leave out; those that were not judged stay as they are."""
        if epoch < self._weighting.warm_up:
            return
        said = self._said.numpy()
        judged = ~np.isnan(said)
        kept = np.ones(self._size, dtype=bool)
        if self._base.mask.kept is not None:
            kept = self._base.mask.kept.copy()
        kept[self._target[judged]] = said[judged] >= self._below
        self._base.mask.keep(kept, _column(self._base, self._fields[0]))

    @property
    def share(self) -> float:
        """Share of the training targets that histories leave out."""
        kept = self._base.mask.kept
        return 0.0 if kept is None else float(1.0 - kept[self._target].mean())

    @property
    def _size(self) -> int:
        return len(_column(self._base, self._fields[0]))

    def state(self) -> dict[str, Any]:
        """Return which clicks are left out, a bit each, and a digest of the clicks."""
        left_out = self._left_out()
        return {
            "left_out": bits_of(left_out),
            "clicks": len(left_out),
            "digest": _digest(self._base, self._fields),
        }

    def of_known(self, catalogue: Mapping[str, Any], planted: bool) -> dict[str, Any]:
        """Return a packed catalogue whose known clicks say which of them histories leave out.

        Args:
            catalogue: What :meth:`Catalogue.packed` gave.
            planted: Whether noise is planted: known clicks are those of the data without it, and
                histories of these leave out none.
        """
        return {**catalogue, "left_out": None if planted else bits_of(self._left_out())}

    def _left_out(self) -> np.ndarray:
        kept = self._base.mask.kept
        return np.zeros(self._size, dtype=bool) if kept is None else ~kept

    def in_epoch(self) -> Tensor:
        """Return what was said so far in this epoch; NaN where nothing was."""
        return self._said.clone()

    def go_on_in_epoch(self, said: Tensor) -> None:
        """Go on inside an epoch, from what :meth:`in_epoch` gave."""
        self._said.copy_(said)


def put_mask(dataset: Any, state: Mapping[str, Any] | None, path: str) -> None:
    """Let the histories of a dataset leave out what they left out in a training.

    Args:
        dataset: A training, validation or test set; all that share its base follow.
        state: What :meth:`Masking.state` gave; None for nothing.
        path: The checkpoint, for the message.

    Raises:
        UsageError: The clicks are others.
    """
    if not isinstance(dataset.inter_feat, Windows):
        if state is not None:
            raise UsageError(f"checkpoint {path} leaves clicks out of histories; here are none")
        return
    base: WindowBase = dataset.inter_feat.interaction.base
    if state is None:
        base.mask.clear()
        return
    fields = dataset.uid_field, dataset.iid_field
    digest = _digest(base, fields)
    if digest != state["digest"]:
        raise UsageError(
            f"checkpoint {path} leaves clicks out of the histories of other interactions: their "
            f"digest is {state['digest']} there and {digest} here; use the same files and settings"
        )
    left_out = marks_of(state["left_out"], int(state["clicks"]))
    assert left_out is not None
    base.mask.keep(~left_out, _column(base, fields[0]))


def _column(base: WindowBase, name: str) -> np.ndarray:
    values: np.ndarray = base.columns[name][:-1].numpy()
    return values


def _digest(base: WindowBase, fields: tuple[str, str]) -> str:
    user, item = (base.columns[name][:-1] for name in fields)
    return clicks_of(user, item)
