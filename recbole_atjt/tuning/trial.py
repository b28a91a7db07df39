"""One trial: trainings on the trial's settings, judged by validation alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from recbole_atjt.assembly import assemble
from recbole_atjt.errors import TrainingError
from recbole_atjt.host.repairs.disk import figures_in
from recbole_atjt.host.sizes import memory_in_one_line
from recbole_atjt.report.log import no_log
from recbole_atjt.tuning.specification import Task


@dataclass(frozen=True)
class Measured:
    """What trainings of a trial came to.

    Args:
        value: Mean over seeds of the best validation score.
        epochs: Epochs trained in all.
    """

    value: float
    epochs: int


def measure(
    task: Task, values: Mapping[str, Any], after_epoch: Callable[[int, float], None]
) -> Measured:
    """Train a trial's settings with each seed; nothing is kept, the test set is not looked at.

    Args:
        task: The study's.
        values: What the trial chose.
        after_epoch: Called after each validation of the first seed with epoch and score; what it
            raises ends the trial.

    Raises:
        UsageError: The settings do not go together.
        TrainingError: Training could not go on, or was never validated.
    """
    scores, epochs = [], 0
    for number, seed in enumerate(task.seeds):
        score, trained = _train(task, values, seed, after_epoch if number == 0 else None)
        scores.append(score)
        epochs += trained
    return Measured(mean(scores), epochs)


def _train(task: Task, values: Mapping[str, Any], seed: int, after_epoch: Any) -> tuple[float, int]:
    config = task.config(values, seed)
    with tempfile.TemporaryDirectory() as folder, no_log():
        with figures_in(None):
            ready = assemble(config, folder)
        trainer = ready.trainer
        with memory_in_one_line(config):
            trainer.fit(
                ready.train_data,
                ready.valid_data,
                saved=False,
                show_progress=False,
                callback_fn=after_epoch,
            )
    if not trainer.progress or trainer.best_valid_result is None:
        raise TrainingError(f"seed {seed}: it was never validated: see eval_step and epochs")
    return float(trainer.best_valid_score), len(trainer.epoch_seconds)
