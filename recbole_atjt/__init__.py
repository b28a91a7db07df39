"""Denoising training for RecBole: noisy sequences are recognised and given less weight."""

__version__ = "0.1.0"

from recbole_atjt import compat

compat.apply()

from recbole_atjt import metrics  # noqa: E402  (RecBole is repaired first)

metrics.register()

from recbole_atjt.config import DenoisingConfig  # noqa: E402  (RecBole is repaired first)
from recbole_atjt.data.prepare import create_dataset, prepare_loaders  # noqa: E402
from recbole_atjt.errors import AtjtError, TrainingError, UsageError  # noqa: E402
from recbole_atjt.experiment import run  # noqa: E402
from recbole_atjt.report.result import ExperimentResult, RunResult  # noqa: E402
from recbole_atjt.trainer import DenoisingTrainer  # noqa: E402
from recbole_atjt.wrapper import DenoisingRecommender  # noqa: E402

__all__ = [
    "AtjtError",
    "DenoisingConfig",
    "DenoisingRecommender",
    "DenoisingTrainer",
    "ExperimentResult",
    "RunResult",
    "TrainingError",
    "UsageError",
    "create_dataset",
    "prepare_loaders",
    "run",
]
