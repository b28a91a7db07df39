"""Lazy prefix windows: a sequence is a start and a length in interactions sorted by user and time.

RecBole builds every prefix of every user in a Python loop and stores it padded
(``data/dataset/sequential_dataset.py``, ``data_augmentation``). Here a window is two small
integers, and its histories are gathered when a batch is collated, with one computation of indices
a batch and one gather a field.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.data.history import History, HistoryField, as_selector, history_rows, is_scalar
from recbole_atjt.data.history_mask import HistoryMask


@dataclass(frozen=True)
class WindowBase:
    """The interactions that windows point into; shared by all subsets, never changed.

    Args:
        columns: Columns sorted by user and time, a row of zeros last, ``[n + 1, ...]`` each.
        histories: The ``*_list`` columns.
        length_field: Name of the column of the histories' lengths.
        max_length: L, the largest number of items of a history.
    """

    columns: dict[str, Tensor]
    histories: dict[str, HistoryField]
    length_field: str
    max_length: int
    #: What histories leave out: what changes while everything else stays; a copy has its own.
    mask: HistoryMask = field(init=False, default_factory=HistoryMask)

    def rows_of(self, target: Tensor, length: Tensor, positions: Tensor, padding: int) -> Tensor:
        """Find the rows of histories, as `history_rows` does, less what is left out."""
        return self.mask.rows(target, length, self.max_length, positions, padding)

    def lengths(self, target: Tensor, length: Tensor) -> Tensor:
        """Return the lengths of histories less what is left out, ``[B]`` int64."""
        return self.mask.lengths(target, length, self.max_length).long()

    def names(self) -> dict[str, None]:
        """Return the names of all columns, in RecBole's order, as an ordered set."""
        return dict.fromkeys([*self.columns, self.length_field, *self.histories])


def pad(column: Tensor) -> Tensor:
    """Return a copy of ``column [n, ...]`` with a row of zeros at its end."""
    padded = column.new_empty((len(column) + 1, *column.shape[1:]))
    padded[:-1] = column
    padded[-1] = 0
    return padded


def find_windows(users: np.ndarray, max_length: int) -> tuple[Tensor, Tensor]:
    """Find the prefix windows of interactions that are sorted by user and time.

    Every interaction but a user's first is the target of one window; its history is what lies
    before it, at most ``max_length`` interactions.

    Args:
        users: User of each interaction, equal users side by side, ``[n]``.
        max_length: Largest length of a history, at least 1.

    Returns:
        Row of each window's target and length of its history, ``[m]`` each; the history is
        the rows ``target - length .. target - 1``.
    """
    row_type = np.int32 if len(users) < 2**31 else np.int64
    rows = np.arange(len(users), dtype=row_type)
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    first = np.maximum.accumulate(np.where(is_first, rows, 0))
    target = rows[~is_first]
    length = np.minimum(target - first[~is_first], max_length)
    length_type = np.int16 if max_length < 2**15 else np.int32
    return torch.from_numpy(target), torch.from_numpy(length.astype(length_type))


class WindowColumns(MutableMapping[str, Any]):
    """The columns of windows by name: own columns first, then those gathered from the base.

    Args:
        base: What the windows point into.
        target: Row of each window's target, ``[m]``.
        length: Length of each window's history, ``[m]``.
        names: Names of the visible columns, as an ordered set.
        own: Columns that were set on these windows, ``[m, ...]`` each.
    """

    def __init__(
        self,
        base: WindowBase,
        target: Tensor,
        length: Tensor,
        names: dict[str, None] | None = None,
        own: dict[str, Tensor] | None = None,
    ) -> None:
        self.base, self.target, self.length = base, target, length
        self.names = base.names() if names is None else names
        self.own = {} if own is None else own
        self._gathered: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        if name in self.own:
            return self.own[name]
        if name in self.base.histories:
            rows_of = history_rows if self.base.mask.kept is None else self.base.rows_of
            return History(self.base.histories[name], self.target, self.length, rows_of)
        if name == self.base.length_field:
            return self.base.lengths(self.target, self.length)
        if name not in self._gathered:
            self._gathered[name] = self.base.columns[name].index_select(0, self.target)
        return self._gathered[name]

    def __setitem__(self, name: str, value: Any) -> None:
        value = value[:] if isinstance(value, History) else torch.as_tensor(value)
        if len(value) != len(self.target):
            raise ValueError(
                f"Column [{name}] has {len(value)} rows, but there are {len(self.target)} windows."
            )
        self.own[name] = value
        self.names[name] = None

    def __delitem__(self, name: str) -> None:
        del self.names[name]
        self.own.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, index: Any) -> WindowColumns:
        """Return the columns of some windows; the base is shared."""
        selector = as_selector(index)
        own = {name: _rows(column, selector) for name, column in self.own.items()}
        target, length = _rows(self.target, selector), _rows(self.length, selector)
        return WindowColumns(self.base, target, length, dict(self.names), own)

    def gather(self) -> dict[str, Tensor]:
        """Return every column of all these windows as RecBole's padded tensor."""
        base, target, length = self.base, self.target.long(), self.length.long()
        padding = len(next(iter(base.columns.values()))) - 1
        rows = base.rows_of(target, length, torch.arange(base.max_length), padding)
        gathered = {}
        for name in self.names:
            if name in self.own:
                gathered[name] = self.own[name]
            elif name in base.histories:
                gathered[name] = base.histories[name].gather(rows)
            elif name == base.length_field:
                gathered[name] = base.lengths(target, length)
            else:
                gathered[name] = base.columns[name].index_select(0, target)
        return gathered

    def forget(self) -> None:
        """Free the columns that were gathered on access; they are gathered again when needed."""
        self._gathered.clear()


def _rows(column: Tensor, selector: Tensor | slice) -> Tensor:
    """Return rows of a column; several times as fast by numbers that count from the start."""
    if not isinstance(selector, Tensor) or selector.dtype != torch.long or selector.ndim != 1:
        return column[selector]
    from_start = not len(selector) or int(selector.min()) >= 0
    return column.index_select(0, selector) if from_start else column[selector]


class Windows(Interaction):
    """Prefix windows in the place of the padded `Interaction` of RecBole's sequential dataset.

    Columns, sorting, shuffling and dropping work as RecBole's do. ``windows[index]`` is again
    lazy and shares the base; `materialize` makes the batch. A whole column can be set (a weight,
    a label); elements of a column cannot, since columns are gathered copies.

    Args:
        columns: The columns of the windows.
    """

    def __init__(self, columns: WindowColumns) -> None:
        self.interaction = columns
        self.length = len(columns.target)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self.interaction[index]
        if is_scalar(index):
            return self.materialize([int(index)])[0]
        return Windows(self.interaction.take(index))

    def materialize(self, index: Any) -> Interaction:
        """Gather a batch: every column that RecBole's would have, value for value.

        Args:
            index: Windows, as ``inter_feat[index]`` takes them.

        Returns:
            Histories are left-aligned and padded with zeros, ``[B, L, ...]``.
        """
        return Interaction(self.interaction.take(index).gather())

    def _reindex(self, index: Any) -> None:
        self.interaction = self.interaction.take(index)

    def __deepcopy__(self, memo: dict[int, Any]) -> Windows:
        columns = self.interaction
        own = {name: column.clone() for name, column in columns.own.items()}
        return Windows(
            WindowColumns(columns.base, columns.target, columns.length, dict(columns.names), own)
        )
