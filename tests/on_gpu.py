"""A plugin of pytest that trains on a GPU whatever a test asks for.

Run the tests with ``python -m pytest -p tests.on_gpu``. Processes that a test starts are as ever,
and tests that compare with a processor's figures to the bit may fail.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recbole.config import Config

from recbole_atjt.parallel.group import size

_plain = Config._init_device


def _on_gpu(config: Any) -> None:
    final = config.final_config_dict
    asked = final["gpu_id"]
    if size() == 1:
        final["gpu_id"] = "0"
    _plain(config)
    final["gpu_id"] = str(asked)


def pytest_configure(config: pytest.Config) -> None:
    """Send all trainings there."""
    if not torch.cuda.is_available():
        raise pytest.UsageError("torch finds no GPU here")
    Config._init_device = _on_gpu


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave RecBole as it is."""
    Config._init_device = _plain
