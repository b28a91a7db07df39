"""Denoising training for RecBole: noisy sequences are recognised and given less weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# ruff: noqa: I001  (RecBole is repaired before anything else of ours imports it)
import os

from recbole_atjt.errors import ended_by_ctrl_c

if "RANK" in os.environ:  # torch reads it when it is imported: of a lost process, one line is said
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

with ended_by_ctrl_c():
    from recbole_atjt.version import __version__
    from recbole_atjt.host import install

    install.apply()

    from recbole_atjt import datasets
    from recbole_atjt.assembly import Assembled, assemble
    from recbole_atjt.config import DenoisingConfig
    from recbole_atjt.loading import create_dataset, prepare_loaders
    from recbole_atjt.errors import AtjtError, TrainingError, UsageError
    from recbole_atjt.evaluation import f1
    from recbole_atjt.experiment import run
    from recbole_atjt.report.result import ExperimentResult, RunResult
    from recbole_atjt.training.recommender import DenoisingRecommender
    from recbole_atjt.training.staged import StagedTrainer
    from recbole_atjt.training.trainer import DenoisingTrainer

    f1.register()

if TYPE_CHECKING:
    from recbole_atjt.serving import Recommender

__all__ = [
    "Assembled",
    "AtjtError",
    "DenoisingConfig",
    "DenoisingRecommender",
    "DenoisingTrainer",
    "ExperimentResult",
    "Recommender",
    "RunResult",
    "StagedTrainer",
    "TrainingError",
    "UsageError",
    "__version__",
    "assemble",
    "create_dataset",
    "datasets",
    "prepare_loaders",
    "run",
]


def __getattr__(name: str) -> Any:
    """Load what only serving needs when it is asked for."""
    if name == "Recommender":
        from recbole_atjt.serving import Recommender

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
