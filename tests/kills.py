"""Runs that are killed where a test says, and what two folders have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_atjt import DenoisingTrainer
from recbole_atjt.checkpoint.file import load_checkpoint


class Killed(Exception):
    """In the place of a SIGKILL."""


def kill_at(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    plain = DenoisingTrainer._check_nan

    def check(trainer: DenoisingTrainer, loss: Any) -> None:
        if (trainer.epoch, trainer.batch) == (epoch, batch):
            raise Killed
        plain(trainer, loss)

    monkeypatch.setattr(DenoisingTrainer, "_check_nan", check)


def results(folder: str | Path) -> list[dict[str, Any]]:
    runs = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))["runs"]
    for run in runs:
        for name in ("seconds", "checkpoint"):
            run.pop(name)
        run["config"].pop("checkpoint_dir")
    found: list[dict[str, Any]] = runs
    return found


def models(folder: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    files = sorted((Path(folder) / "checkpoints").glob("*.safetensors"))
    return {file.name: load_checkpoint(file).model_state for file in files}


def same_models(one: str | Path, other: str | Path) -> None:
    first, second = models(one), models(other)
    assert first.keys() == second.keys()
    for name, state in first.items():
        for key, value in state.items():
            assert torch.equal(second[name][key], value), (name, key)
