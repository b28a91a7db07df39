"""Noise in lazy windows: planted in the shared base, so that later histories show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.data.clean import NOISE_FIELD
from recbole_atjt.data.history import HistoryField
from recbole_atjt.data.windows import WindowBase, WindowColumns, Windows, find_windows
from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.insertion import Growth
from recbole_atjt.noise.kinds import Corrupted, corrupt
from recbole_atjt.noise.plan import Plan
from recbole_atjt.noise.truth import Fields


def plant_windows(plan: Plan, feats: Sequence[Any], fields: Fields, n_items: int) -> list[Windows]:
    """Plant noise in the training windows of a split.

    Args:
        plan: What to plant.
        feats: Windows of training, validation and test; they share a base.
        fields: Names of columns.
        n_items: Number of items, the padding included.

    Returns:
        Windows on a new base. Added clicks are targets of training windows, each before the
        window of the click that it was put before.
    """
    columns: WindowColumns = feats[0].interaction
    base = columns.base
    users, items = (base.columns[name][:-1].numpy() for name in (fields.user, fields.item))
    rows = training_rows(users, columns.target.numpy())
    found = corrupt(Clicks(users[rows], items[rows], n_items), plan)
    growth = Growth(len(users) + 1, rows[found.after])
    grown = _plant_in_base(base, rows, found, growth, fields)
    lengths = _lengths(grown.columns[fields.user][:-1].numpy(), base.max_length)
    next_click = rows[found.after + 1] if len(found.after) else rows[:0]
    planted: list[Windows] = []
    for feat in feats:
        windows: WindowColumns = feat.interaction
        target = growth.moved(windows.target.numpy())
        added = growth.added if not planted else growth.added[:0]
        before = growth.moved(next_click) if not planted else next_click[:0]
        source, merged = _merge(target, added, before)
        planted.append(Windows(_on(windows, grown, source, merged, lengths)))
    return planted


def training_rows(users: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the training clicks in the base: targets, and the first click of a target's user.

    Args:
        users: User of each row of the base, equal users side by side, ``[n]``.
        target: Rows of the training windows' targets, ``[m]``.

    Returns:
        Rows, ascending.
    """
    is_training = np.zeros(len(users), dtype=bool)
    is_training[target] = True
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    starts = np.flatnonzero(is_first)
    is_training[starts[np.logical_or.reduceat(is_training, starts)]] = True
    return np.flatnonzero(is_training)


def _plant_in_base(
    base: WindowBase, rows: np.ndarray, found: Corrupted, growth: Growth, fields: Fields
) -> WindowBase:
    """Return a base with the noise; columns that do not change are shared."""
    changed = base.columns
    if len(growth.after):
        source = torch.from_numpy(growth.source)
        changed = {name: column[source] for name, column in base.columns.items()}
        times = fields.times(base.columns)
        assert times is not None
        ends = times[growth.after], times[growth.after + 1]
        fields.place_between(changed, growth.added, ends, growth.after)
    item = changed[fields.item].clone()
    noise = fields.truth(changed, len(item))
    for column, values, added in (
        (item, found.items, found.added),
        (noise, found.noise, np.ones(len(found.added))),
    ):
        column[growth.moved(rows)] = torch.from_numpy(values).to(column.dtype)
        column[growth.added] = torch.from_numpy(added).to(column.dtype)
    changed = {**changed, fields.item: item, NOISE_FIELD: noise}
    histories = {
        name: _follow(history, base, changed, growth) for name, history in base.histories.items()
    }
    return replace(base, columns=changed, histories=histories)


def _follow(
    history: HistoryField, base: WindowBase, changed: dict[str, Tensor], growth: Growth
) -> HistoryField:
    """Let a history be of the new columns; one of values of its own grows with the base."""
    for name, column in base.columns.items():
        if history.values is not column:
            continue
        if name == NOISE_FIELD:  # whatever it was in the file
            return HistoryField(changed[name], history.shape[:1], changed[name].dtype)
        return replace(history, values=changed[name])
    values = history.values[torch.from_numpy(growth.source)] if len(growth.after) else None
    return history if values is None else replace(history, values=values)


def _lengths(users: np.ndarray, max_length: int) -> Tensor:
    """Return the length of the history before each row of a base, ``[n]``."""
    target, length = find_windows(users, max_length)
    lengths = length.new_zeros(len(users))
    lengths[target.long()] = length
    return lengths


def _merge(target: np.ndarray, added: np.ndarray, before: np.ndarray) -> tuple[Tensor, Tensor]:
    """Put the windows of added clicks in, each before the window whose target is ``before``.

    Args:
        target: Target row of each window, ``[w]``.
        added: Target row of each added window, ``[m]``.
        before: The target before whose window it goes, ``[m]``.

    Returns:
        Window that each new one is or stands before, and its target row, ``[w + m]`` each.
    """
    by_target = np.argsort(target, kind="stable")
    position = by_target[np.searchsorted(target[by_target], before)]
    source = np.concatenate([position, np.arange(len(target))])
    order = np.argsort(source, kind="stable")  # the added ones stand first in ``source``
    merged = np.concatenate([added.astype(target.dtype), target])[order]
    return torch.from_numpy(source[order]), torch.from_numpy(merged)


def _on(
    columns: WindowColumns, grown: WindowBase, source: Tensor, target: Tensor, lengths: Tensor
) -> WindowColumns:
    """Return windows on the new base; what was set on a window is copied to an added one."""
    names = {**columns.names, NOISE_FIELD: None}
    own = {name: column[source] for name, column in columns.own.items() if name != NOISE_FIELD}
    return WindowColumns(grown, target, lengths[target.long()], names, own)
