"""Repairs of what RecBole does with data frames, which pandas 3 changed."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.host.repairs.override import override


def load_missing_sequences() -> None:
    """Make ``fillna(inplace=True)`` of ``Dataset._load_feat`` fill (``dataset.py:501``).

    In pandas 3 it fills a copy, and a missing sequence ends in ``'float' object has no attribute
    'split'``.
    """
    from recbole.data.dataset import dataset as module

    def read_csv(*args: Any, **kwargs: Any) -> Columns:
        return Columns(pd.read_csv(*args, **kwargs))

    pandas_of_module = types.ModuleType(pd.__name__)
    vars(pandas_of_module).update(vars(pd), read_csv=read_csv)
    vars(module)["pd"] = pandas_of_module

    @override(module.Dataset, "_load_feat")
    def _load_feat(original: Callable[..., Any], dataset: Any, filepath: str, source: Any) -> Any:
        feat = original(dataset, filepath, source)
        return feat.frame if isinstance(feat, Columns) else feat


def fill_missing_values() -> None:
    """Make ``fillna(inplace=True)`` of ``Dataset._fill_nan`` fill (``dataset.py:648`` and ``650``).

    In pandas 3 it fills a copy, and NaN reaches the model.
    """
    from recbole.data.dataset import Dataset

    @override(Dataset, "_fill_nan")
    def _fill_nan(original: Callable[..., None], dataset: Any) -> None:
        frames = {name: getattr(dataset, name) for name in dataset.feat_name_list}
        try:
            for name, frame in frames.items():
                setattr(dataset, name, Columns(frame))
            original(dataset)
        finally:
            for name, frame in frames.items():
                setattr(dataset, name, frame)


def remap_token_sequences() -> None:
    """Make ``agg(len)`` of ``Dataset._remap`` (``data/dataset/dataset.py:1217``) count by row.

    In pandas 3 it is the number of rows.
    """
    from recbole.data.dataset import Dataset

    @override(Dataset, "_remap")
    def _remap(original: Callable[..., None], dataset: Any, remap_list: list[Any]) -> None:
        original(dataset, [(Columns(feat), field, ftype) for feat, field, ftype in remap_list])


def split_float_sequences() -> None:
    """Make ``agg(len)`` count by row in two more methods (``data/dataset/dataset.py:712, 792``).

    ``Dataset._normalize`` and ``_discretization`` split sequences of numbers by it.
    """
    from recbole.data.dataset import Dataset

    def with_views(original: Callable[..., None], dataset: Any) -> None:
        feats = dataset.field2feats
        dataset.field2feats = lambda field: [Columns(feat) for feat in feats(field)]
        try:
            original(dataset)
        finally:
            del dataset.field2feats

    for name in ("_normalize", "_discretization"):
        override(Dataset, name)(with_views)


def copy_read_only_columns() -> None:
    """Give the tensors of ``Dataset._dataframe_to_interaction`` (``dataset.py:2199``) own memory.

    The columns of pandas 3 are read-only; a tensor on their memory comes with a ``UserWarning`` and
    is not safe to write to. The copy has the tensor's type at once: int64 or float32.
    """
    from recbole.data.dataset import Dataset

    @override(Dataset, "_dataframe_to_interaction")
    def _dataframe_to_interaction(original: Callable[..., Any], dataset: Any, data: Any) -> Any:
        return original(dataset, _TensorColumns(data))


class Columns:
    """A table whose columns can be changed in place and written to, as before pandas 3."""

    def __init__(self, frame: pd.DataFrame) -> None:
        vars(self)["frame"] = frame

    def __getitem__(self, name: str) -> _Column:
        return _Column(self.frame, name)

    def __setitem__(self, name: str, values: Any) -> None:
        self.frame[name] = values

    def __iter__(self) -> Iterator[str]:
        return iter(self.frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.frame, name, value)


class _TensorColumns(Columns):
    """A table whose columns become tensors."""

    def __getitem__(self, name: str) -> _Column:
        return _TensorColumn(self.frame, name)


class _Column:
    """One column of `Columns`."""

    def __init__(self, frame: pd.DataFrame, name: str) -> None:
        self._frame = frame
        self._name = name

    @property
    def values(self) -> Any:
        values = self._frame[self._name].values
        read_only = isinstance(values, np.ndarray) and not values.flags.writeable
        return values.copy() if read_only else values

    def fillna(self, value: Any, inplace: bool = False) -> pd.Series | None:
        filled = self._frame[self._name].fillna(value)
        if not inplace:
            return filled
        self._frame[self._name] = filled
        return None

    def agg(self, function: Callable[..., Any]) -> Any:
        column = self._frame[self._name]
        return column.map(len) if function is len else column.agg(function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame[self._name], name)


class _TensorColumn(_Column):
    """One column of `_TensorColumns`."""

    @property
    def values(self) -> Any:
        values = self._frame[self._name].values
        types = {np.dtype(np.int32): np.int64, np.dtype(np.float64): np.float32}
        if isinstance(values, np.ndarray) and values.dtype in types:
            with np.errstate(over="ignore"):  # infinity, as torch has it
                return values.astype(types[values.dtype])
        return super().values
