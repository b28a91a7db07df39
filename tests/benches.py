"""Small benches: files, cells and lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recbole_atjt.bench.cells import Cell
from recbole_atjt.bench.specification import Bench, read_bench
from tests.models import data_path
from tests.runs import settings

#: Keys that a bench varies by its lists, or sets by itself.
_NOT_SETTINGS = ("seed", "show_progress", "data_path")


def write(name: str = "bench.yaml", **changes: Any) -> Path:
    """Write a bench of one tiny cell for each strategy and seed; None leaves a key out."""
    keys = {k: v for k, v in settings(epochs=1).items() if k not in _NOT_SETTINGS}
    content = {
        "models": ["GRU4Rec"],
        "datasets": ["tiny"],
        "strategies": ["none", "t_ce"],
        "seeds": [1, 2],
        "settings": {**keys, **changes.pop("more", {})},
        **changes,
    }
    content = {key: value for key, value in content.items() if value is not None}
    path = Path(name)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def bench(**changes: Any) -> Bench:
    """Return such a bench."""
    return read_bench(write(**changes), data_path=data_path())


def line(cell: Cell, value: float, **more: Any) -> dict[str, Any]:
    """Return a finished cell whose metric is a value, in test and validation."""
    return {**cell.names, "valid": {"m": value}, "test": {"m": value}, **more}
