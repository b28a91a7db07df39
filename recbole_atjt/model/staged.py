"""Models that are trained in stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from recbole_atjt.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: Name of the stage, known to the model.
        epochs: Most epochs of the stage; early stopping may end it before.
        learning_rate: Learning rate of the stage.
    """

    name: str
    epochs: int
    learning_rate: float


class StagedModel:
    """What a model offers that is trained in stages; inherit from it beside RecBole's class."""

    #: Batches are users, as for RecBole's own autoencoders.
    trains_on_users = False

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages in their order."""
        raise NotImplementedError

    def start_stage(self, name: str) -> nn.Module:
        """Freeze all but the part that a stage trains, predict as this stage does; return the part.

        Args:
            name: Name of a stage.
        """
        raise NotImplementedError

    def finish_stages(self) -> None:
        """Predict as the settings say, now that all stages are done."""
        raise NotImplementedError


def refuse_staged(model_class: type, weighting: str) -> None:
    """Refuse to weigh a model that is trained in stages of its own.

    Raises:
        UsageError: It is one.
    """
    if issubclass(model_class, StagedModel):
        raise UsageError(
            f"weighting={weighting} does not go with model={model_class.__name__}, which is "
            "trained in stages of its own: use weighting=none"
        )
