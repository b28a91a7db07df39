"""Repairs of how RecBole reads atomic files, and of what it does with their times."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_atjt.host.ordering import stable_order
from recbole_atjt.host.repairs.override import override
from recbole_atjt.host.repairs.pandas3 import Columns

#: What stands for a missing number.
NO_NUMBER = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "n/a", "<NA>", "#N/A"]


def read_plain_text() -> None:
    r"""Read files as text between separators (``data/dataset/dataset.py:486``).

    To pandas a quote begins a quoted text that may run over separators and lines, and ``NA``,
    ``None``, ``nan`` or ``null`` are missing; in atomic files a quote is a character, and these are
    names. It also takes the first column for an index where a row is longer than the header.
    """
    from recbole.data.dataset import dataset as module

    @override(module.pd, "read_csv")
    def read_csv(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        frame = _FRAME.get()
        if frame is not None and list(frame) == kwargs["usecols"]:
            return Columns(frame)
        types = kwargs.get("dtype", {})
        missing = {name: NO_NUMBER if kind is np.float64 else [""] for name, kind in types.items()}
        return original(
            *args,
            **kwargs,
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            na_values=missing,
            index_col=False,
        )


_FRAME: ContextVar[pd.DataFrame | None] = ContextVar("frame", default=None)


@contextmanager
def reading(frame: pd.DataFrame | None) -> Iterator[None]:
    """Give RecBole a file's columns in the block, in place of reading them.

    Args:
        frame: What it would read, its columns named as in the header; it reads if they are others
            than it asks for, and if this is None.
    """
    token = _FRAME.set(frame)
    try:
        yield
    finally:
        _FRAME.reset(token)


def sort_by_exact_times() -> None:
    """Sort interactions by the file's times (``data/dataset/dataset.py:1809`` and ``2213``).

    Times become float32, in which seconds of today are 128 apart; clicks that are closer would keep
    the order of the file. Rows are moved once, not once for each column that is sorted by.
    """
    from recbole.data.dataset import Dataset
    from recbole.data.interaction import Interaction

    @override(Dataset, "_change_feat_format")
    def _change_feat_format(original: Callable[..., None], dataset: Any) -> None:
        field, feat = dataset.time_field, dataset.inter_feat
        if field is not None and hasattr(feat, "columns") and field in feat.columns:
            exact = feat[field].to_numpy()
            if exact.dtype == np.float64:
                dataset.exact_times = torch.from_numpy(exact.copy())
        original(dataset)

    @override(Dataset, "sort")
    def sort(original: Callable[..., None], dataset: Any, by: Any, ascending: Any = True) -> None:
        times = vars(dataset).pop("exact_times", None)
        field, feat = dataset.time_field, dataset.inter_feat
        named = [by] if isinstance(by, str) else list(by)
        columns = feat.interaction
        has_rows = times is not None and field in named and len(times) == len(feat)
        keys = [times if has_rows and name == field else columns.get(name) for name in named]
        if ascending is True and all(key is not None and key.ndim == 1 for key in keys):
            rows = stable_order(keys)
            if type(feat) is Interaction:
                feat.interaction = {k: v.index_select(0, rows) for k, v in columns.items()}
            else:
                feat._reindex(rows)
            return
        if not has_rows:
            original(dataset, by, ascending)
            return
        order = list(columns)
        columns[_TIMES] = columns[field]
        columns[field] = times
        original(dataset, by, ascending)
        columns = feat.interaction
        columns[field] = columns.pop(_TIMES)
        feat.interaction = {name: columns[name] for name in order}

    @override(Dataset, "shuffle")
    def shuffle(original: Callable[..., None], dataset: Any) -> None:
        vars(dataset).pop("exact_times", None)
        original(dataset)


#: Name of a column for as long as another one is sorted by in its place.
_TIMES = "times as RecBole has them"
