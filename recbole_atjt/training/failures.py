"""What a training that cannot go on says: where it stopped, what to try, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole_atjt.errors import AtjtError, TrainingError, in_one_line
from recbole_atjt.host.refusals import raised_by_recbole


@contextmanager
def named_failures(trainer: Any) -> Iterator[None]:
    """Say where training failed; a model that RecBole cannot even start has wrong settings.

    Args:
        trainer: The :class:`~recbole_atjt.training.trainer.DenoisingTrainer` that trains inside.

    Raises:
        TrainingError: What failed inside, named.
    """
    try:
        yield
    except TrainingError as error:
        raise TrainingError(
            f"epoch {trainer.epoch}, batch {trainer.batch}: {error}: "
            f"try {_remedies(trainer)}; {trainer.what_is_saved()}"
        ) from error
    except (AtjtError, MemoryError):
        raise
    except Exception as error:
        first = trainer.batch == 0 and trainer.epoch == trainer.start_epoch
        if not (first and raised_by_recbole(error)):
            raise
        hint = ""
        if isinstance(error, KeyError):
            hint = " is missing: see load_col, threshold and train_neg_sample_args"
        model = trainer.config["model"]
        raise TrainingError(
            f"model={model} fails on its first batch: {in_one_line(error)}{hint}"
        ) from error


def _remedies(trainer: Any) -> str:
    own = trainer.weighting.remedies() if trainer.weighting is not None else ()
    rates = [f"learning_rate (now {trainer.learning_rate})", *own]
    return f"a smaller {' or '.join(rates)}, or clip_grad_norm={{max_norm: 1.0}}"
