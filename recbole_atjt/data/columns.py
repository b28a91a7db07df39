"""Which columns of the atomic files are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import recbole

from recbole_atjt.data.files import header_columns
from recbole_atjt.settings.resources import properties_path


def choose_columns(final: dict[str, Any], dataset: str, also: Iterable[str]) -> None:
    """Set ``load_col`` for a caller who names no columns.

    A property file's columns are taken where one names them, else all that the headers offer, or
    everything (None) before a download.

    Args:
        final: The settings.
        dataset: Name of the dataset.
        also: Columns of interactions that are needed in any case.
    """
    if not _are_known(dataset):
        found = header_columns(
            final["data_path"],
            dataset,
            benchmark_filename=final["benchmark_filename"],
            field_separator=final["field_separator"],
            encoding=final.get("encoding") or "utf-8",
        )
        final["load_col"] = found or None
    loaded = (final["load_col"] or {}).get("inter")
    if final["load_col"] and isinstance(loaded, list):
        final["load_col"]["inter"] = [*loaded, *(name for name in also if name not in loaded)]


def _are_known(dataset: str) -> bool:
    """Whether a property file of ours or RecBole's names the columns of this dataset."""
    ours = properties_path() / "dataset" / f"{dataset}.yaml"
    theirs = Path(recbole.__file__).parent / "properties" / "dataset" / f"{dataset}.yaml"
    return any(path.is_file() and "load_col" in path.read_text() for path in (ours, theirs))
