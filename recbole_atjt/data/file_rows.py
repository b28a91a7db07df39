"""Interactions that know which row of their file they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Column of the number of each interaction's row in the file, from 0; no field of the dataset.
FILE_ROW = "row of the file"


class _FileRows:
    """Stands before a dataset class among a class's bases and keeps the rows of the file.

    RecBole filters rows by their place in the file and forgets it when it is done
    (``data/dataset/dataset.py``, ``_reset_index``). With several files, which RecBole joins, rows
    are counted through them.
    """

    inter_feat: Any
    _file_rows: Tensor | None = None

    def _reset_index(self) -> None:
        self._file_rows = torch.tensor(self.inter_feat.index.to_numpy(), dtype=torch.long)
        super()._reset_index()  # type: ignore[misc]

    def _change_feat_format(self) -> None:
        super()._change_feat_format()  # type: ignore[misc]
        self._number()

    def _aug_presets(self) -> None:
        super()._aug_presets()  # type: ignore[misc]
        self._number()

    def _number(self) -> None:
        if FILE_ROW in self.inter_feat:
            return
        if self._file_rows is None:  # ready splits, which RecBole does not filter
            self._file_rows = torch.arange(len(self.inter_feat))
        self.inter_feat[FILE_ROW] = self._file_rows

    def _histories(self, columns: dict[str, Tensor]) -> Any:
        own = {name: column for name, column in columns.items() if name != FILE_ROW}
        return super()._histories(own)  # type: ignore[misc]


def with_file_rows(chosen: type[Any]) -> type[Any]:
    """Return a dataset class whose interactions have a column ``FILE_ROW``.

    Args:
        chosen: A dataset class of this package or of RecBole.
    """
    return type(chosen.__name__, (_FileRows, chosen), {})
