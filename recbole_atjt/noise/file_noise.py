"""Noise for the rows of a file, and the rows with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recbole_atjt.data.clean import NOISE_FIELD
from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.frames import Columns, FileClicks
from recbole_atjt.noise.insertion import Growth, times_between
from recbole_atjt.noise.kinds import corrupt
from recbole_atjt.noise.plan import Plan


@dataclass(frozen=True)
class FileNoise:
    """What changes in a file.

    Args:
        items: What stands in each row's column of items, ``[n]``: a number of ``tokens``.
        noise: Whether each row is noise, ``[n]``.
        after: Row that each added one follows, ascending, ``[m]``.
        added: Item of each added row, ``[m]``.
        times: Time of each added row, ``[m]``, or None.
        tokens: Each item as the file writes it.
    """

    items: np.ndarray
    noise: np.ndarray
    after: np.ndarray
    added: np.ndarray
    times: np.ndarray | None
    tokens: np.ndarray


def plant_clicks(plan: Plan, clicks: FileClicks, keep: float) -> FileNoise:
    """Plant noise in all but the last ``keep`` clicks of each user; below 1 it is their share."""
    users, times = clicks.users, clicks.times
    order = np.lexsort((users,) if times is None else (times, users))
    every = Clicks(users[order], clicks.items[order], len(clicks.tokens))
    rank = np.arange(len(order)) - every.starts[every.user_index]
    kept = keep if keep >= 1 else np.ceil(keep * every.sizes - 1e-9)[every.user_index]
    rows = order[rank < every.sizes[every.user_index] - kept]
    found = corrupt(Clicks(users[rows], clicks.items[rows], every.n_items), plan)
    items, noise = clicks.items.copy(), np.zeros(len(users), dtype=bool)
    items[rows], noise[rows] = found.items, found.noise
    by_row = np.argsort(rows[found.after], kind="stable")
    after = found.after[by_row]
    added_times = None
    if times is not None and len(after):
        added_times = times_between(times[rows[after]], times[rows[after + 1]], rows[after])
    return FileNoise(items, noise, rows[after], found.added[by_row], added_times, clicks.tokens)


def with_noise(chunk: pd.DataFrame, columns: Columns, noise: FileNoise, start: int) -> pd.DataFrame:
    """Return the rows of a file from ``start`` on with noise, added rows and ``is_noise``.

    Args:
        chunk: Rows of text.
        columns: Where its columns are.
        noise: What changes in the file.
        start: Number of the chunk's first row in the file.
    """
    first, last = np.searchsorted(noise.after, [start, start + len(chunk)])
    growth = Growth(len(chunk), noise.after[first:last] - start)
    frame = chunk.iloc[growth.source].reset_index(drop=True)
    is_noise = noise.noise[start : start + len(chunk)][growth.source]
    codes = noise.items[start : start + len(chunk)][growth.source]
    codes[growth.added], is_noise[growth.added] = noise.added[first:last], True
    item = frame.iloc[:, columns.item].to_numpy(dtype=object).copy()
    item[is_noise] = noise.tokens[codes[is_noise]]
    changed = {columns.item: item}
    if noise.times is not None and columns.time is not None:
        time = frame.iloc[:, columns.time].to_numpy(dtype=object).copy()
        time[growth.added] = list(map(str, noise.times[first:last].tolist()))
        changed[columns.time] = time
    truth = np.where(is_noise, "1", "0")
    names = list(frame.columns)
    values = [changed.get(place, frame.iloc[:, place]) for place in range(len(names))]
    place = len(names) if columns.noise is None else columns.noise
    names[place : place + 1], values[place : place + 1] = [f"{NOISE_FIELD}:float"], [truth]
    return pd.DataFrame(dict(zip(names, values)))
