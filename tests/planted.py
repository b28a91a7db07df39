"""Noise planted in the tiny dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from recbole.utils import init_seed

import recbole_atjt
from recbole_atjt import DenoisingConfig
from recbole_atjt.noise import KINDS
from tests.runs import settings

ALL = ",".join(f"{kind}:0.1" for kind in KINDS)
LENGTH = 4


def parts_of(model: str, plant: str | None, **changes: Any) -> list[Any]:
    """Return the three datasets that loaders would get."""
    keys = settings(plant=plant, plant_items=5, MAX_ITEM_LIST_LENGTH=LENGTH, **changes)
    config = DenoisingConfig(model, changes.get("dataset", "tiny"), config_dict=keys)
    init_seed(config["seed"], True)
    loaders = recbole_atjt.prepare_loaders(config, recbole_atjt.create_dataset(config))
    return [loader._dataset for loader in loaders]


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
