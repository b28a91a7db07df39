"""The clicks of a file that is read chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from recbole_atjt.data.clean import NOISE_FIELD
from recbole_atjt.errors import UsageError


@dataclass(frozen=True)
class Columns:
    """Positions of the columns that planting reads and writes.

    Args:
        user: Column of users.
        item: Column of items.
        time: Column of times, or None.
        noise: Column ``is_noise`` that is there already, or None.
    """

    user: int
    item: int
    time: int | None
    noise: int | None

    @classmethod
    def of(cls, names: Sequence[str], user: str, item: str, time: str, file: Path) -> Columns:
        """Find them in a header.

        Raises:
            UsageError: There is no column of users or of items.
        """
        for name in (user, item):
            if name not in names:
                raise UsageError(f"{file} has no column '{name}'; it has {', '.join(names)}")
        optional = [names.index(n) if n in names else None for n in (time, NOISE_FIELD)]
        return cls(names.index(user), names.index(item), *optional)


@dataclass(frozen=True)
class FileClicks:
    """The clicks of a file, in its order.

    Args:
        users: Number of each user, ``[n]``.
        items: Number of each item, from 1, ``[n]``.
        times: Whole or floating point numbers, ``[n]``; None without a column of times.
        tokens: Each item as the file writes it, nothing for 0, ``[n_items]``.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    tokens: np.ndarray


def read_clicks(chunks: Iterable[pd.DataFrame], columns: Columns) -> FileClicks:
    """Read users, items and times; only their numbers stay in memory.

    Raises:
        UsageError: A time is no number, or there is no row.
    """
    users, items, times = [], [], []
    for chunk in chunks:
        users.append(pd.Categorical(chunk.iloc[:, columns.user]))
        items.append(pd.Categorical(chunk.iloc[:, columns.item]))
        if columns.time is not None:
            times.append(_numbers(chunk.iloc[:, columns.time]))
    if not users:
        raise UsageError("plant: the file has no interactions")
    user, item = (union_categoricals(parts, sort_categories=True) for parts in (users, items))
    tokens = np.concatenate([[""], item.categories.to_numpy(dtype=object)]).astype(object)
    time = np.concatenate(times) if times else None
    return FileClicks(np.array(user.codes), item.codes + np.int64(1), time, tokens)


def _numbers(column: pd.Series) -> np.ndarray:
    try:
        return pd.to_numeric(column).to_numpy()
    except ValueError as error:
        raise UsageError(f"column {column.name} holds what is no number: {error}") from None
