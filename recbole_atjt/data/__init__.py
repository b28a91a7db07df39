"""Data: atomic files, lazy windows, splits and loaders."""

from recbole_atjt.data.dataset import (
    ContextWindowDataset,
    DIENWindowDataset,
    KGWindowDataset,
    SequentialWindowDataset,
    WindowedDataset,
)
from recbole_atjt.data.files import ensure_files, header_columns
from recbole_atjt.data.history import History
from recbole_atjt.data.ranking import UnseenWindowSortDataLoader, WindowSortDataLoader
from recbole_atjt.data.windows import Windows

__all__ = [
    "ContextWindowDataset",
    "DIENWindowDataset",
    "History",
    "KGWindowDataset",
    "SequentialWindowDataset",
    "UnseenWindowSortDataLoader",
    "WindowSortDataLoader",
    "WindowedDataset",
    "Windows",
    "ensure_files",
    "header_columns",
]
