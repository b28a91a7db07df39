"""Repairs of how RecBole reads atomic files, and of what it does with their times."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recbole_atjt.host.repairs.override import override

#: What stands for a missing number.
_NO_NUMBER = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "n/a", "<NA>", "#N/A"]


def read_plain_text() -> None:
    r"""Read files as text between separators (``data/dataset/dataset.py:486``).

    To pandas a quote begins a quoted text that may run over separators and lines, and ``NA``,
    ``None``, ``nan`` or ``null`` are missing; in atomic files a quote is a character, and these are
    names. It also takes the first column for an index where a row is longer than the header.
    """
    from recbole.data.dataset import dataset as module

    @override(module.pd, "read_csv")
    def read_csv(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        types = kwargs.get("dtype", {})
        missing = {name: _NO_NUMBER if kind is np.float64 else [""] for name, kind in types.items()}
        return original(
            *args,
            **kwargs,
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            na_values=missing,
            index_col=False,
        )


def sort_by_exact_times() -> None:
    """Sort interactions by the file's times (``data/dataset/dataset.py:1809`` and ``2213``).

    Times become float32, in which seconds of today are 128 apart; clicks that are closer would keep
    the order of the file.
    """
    from recbole.data.dataset import Dataset

    @override(Dataset, "_change_feat_format")
    def _change_feat_format(original: Callable[..., None], dataset: Any) -> None:
        field, feat = dataset.time_field, dataset.inter_feat
        exact = None
        if field is not None and hasattr(feat, "columns") and field in feat.columns:
            exact = feat[field].to_numpy()
        if exact is not None and exact.dtype == np.float64:
            dataset.time_ranks = torch.from_numpy(np.unique(exact, return_inverse=True)[1])
        original(dataset)

    @override(Dataset, "sort")
    def sort(original: Callable[..., None], dataset: Any, by: Any, ascending: Any = True) -> None:
        ranks = vars(dataset).pop("time_ranks", None)
        field, feat = dataset.time_field, dataset.inter_feat
        named = [by] if isinstance(by, str) else list(by)
        if ranks is None or field not in named or len(ranks) != len(feat):
            original(dataset, by, ascending)
            return
        columns = feat.interaction
        order = list(columns)
        columns[_TIMES] = columns[field]
        columns[field] = ranks
        original(dataset, by, ascending)
        columns = feat.interaction
        columns[field] = columns.pop(_TIMES)
        feat.interaction = {name: columns[name] for name in order}

    @override(Dataset, "shuffle")
    def shuffle(original: Callable[..., None], dataset: Any) -> None:
        vars(dataset).pop("time_ranks", None)
        original(dataset)


#: Name of a column for as long as another one is sorted by in its place.
_TIMES = "times as RecBole has them"
