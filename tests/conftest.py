"""One seed, one thread and an empty working folder for every test."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import recbole_atjt  # noqa: F401  (repairs RecBole before any test module uses it)


@pytest.fixture(autouse=True)
def _repeatable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
