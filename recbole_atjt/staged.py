"""Training in stages: each trains a part of the model with the rest frozen, then keeps its best."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recbole.trainer import Trainer
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


class StagedTraining(Trainer):  # type: ignore[misc,unused-ignore]
    """RecBole trainer that trains a :class:`StagedModel` stage by stage, and others as before.

    Each stage has an optimiser of its own part's parameters and an early stopping that starts anew.
    Its best state, by validation, is taken up before the next stage begins; without validation it
    is the last one. Epochs are counted through all stages. Put it before other trainers in the list
    of bases.

    Args:
        config: RecBole's Config.
        model: The model.
    """

    start_epoch: int
    epochs: int
    eval_step: int
    train_loss_dict: dict[int, float]

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        self._stages: Sequence[Stage] = getattr(model, "stages", ())
        self._stage: int | None = None
        self._first_epoch = 0
        self._part: nn.Module | None = None
        self._best_part: dict[str, Any] | None = None

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Any = None,
    ) -> Any:
        """Train as RecBole does; a staged model stage by stage.

        Returns:
            Best validation score and result of the last stage, or of what the model predicts in the
            end where that is something else.
        """
        if not self._stages:
            options = (verbose, saved, show_progress, callback_fn)
            return super().fit(train_data, valid_data, *options)

        def keep_best(epoch: int, score: float) -> None:
            if self.cur_step == 0 and self._part is not None:
                self._best_part = copy.deepcopy(self._part.state_dict())
            if callback_fn:
                callback_fn(epoch, score)

        resumed = self._stage
        for number in range(resumed or 0, len(self._stages)):
            if number != resumed:
                self._start_stage(number, self.start_epoch if number == 0 else self._next_epoch())
            if verbose:
                stage = self._stages[number]
                self.logger.info(f"stage {stage.name}: at most {stage.epochs} epochs")
            if not valid_data or self.eval_step <= 0:
                self._best_part = None
            if self.start_epoch < self.epochs:  # else a finished stage was resumed
                super().fit(train_data, valid_data, verbose, saved, show_progress, keep_best)
            self._take_up_best()
        self.model.finish_stages()
        self._stage, self._part, self.start_epoch = None, None, 0
        if valid_data and self.eval_step > 0:
            self.best_valid_score, self.best_valid_result = self._valid_epoch(
                valid_data, show_progress
            )
        return self.best_valid_score, self.best_valid_result

    def _next_epoch(self) -> int:
        """Return the number of the epoch after the last one of this training."""
        return max([self.start_epoch - 1, *self.train_loss_dict]) + 1

    def _start_stage(self, number: int, first_epoch: int) -> None:
        stage = self._stages[number]
        self._stage, self._first_epoch = number, first_epoch
        self.start_epoch, self.epochs = first_epoch, first_epoch + stage.epochs
        self.eval_step = min(self.config["eval_step"], stage.epochs)
        self.cur_step, self.best_valid_result = 0, None
        self.best_valid_score = -float("inf") if self.valid_metric_bigger else float("inf")
        part = self.model.start_stage(stage.name)
        self._part, self._best_part = part, None
        self.learning_rate = stage.learning_rate
        self.optimizer = self._build_optimizer(
            params=part.parameters(), learning_rate=stage.learning_rate
        )

    def _take_up_best(self) -> None:
        if self._part is not None and self._best_part is not None:
            self._part.load_state_dict(self._best_part)

    def stage_state(self) -> dict[str, Any] | None:
        """Return what a checkpoint says about the stage; None for a model without stages."""
        if self._stage is None:
            return None
        return {"name": self._stages[self._stage].name, "first_epoch": self._first_epoch}

    def resume_stage(self, state: dict[str, Any] | None) -> None:
        """Go to the stage of a checkpoint, whose model is loaded; counters are not touched.

        Args:
            state: What :meth:`stage_state` gave.
        """
        if not self._stages or state is None:
            return
        names = [stage.name for stage in self._stages]
        self._start_stage(names.index(state["name"]), state["first_epoch"])
        assert self._part is not None
        self._best_part = copy.deepcopy(self._part.state_dict())

    def gate_choices(self) -> dict[str, float] | None:
        """Return the share of users for each choice of experts; None for a model without a gate."""
        choices = getattr(self.model, "gate_choices", None)
        return None if choices is None else choices()

    def refuse_unfinished(self, path: str, state: dict[str, Any] | None) -> None:
        """Refuse to evaluate a checkpoint whose later stages were never trained.

        Raises:
            UsageError: The checkpoint was kept before the last stage.
        """
        if self._stages and state is not None and state["name"] != self._stages[-1].name:
            names = ", ".join(stage.name for stage in self._stages)
            raise UsageError(
                f"checkpoint {path} was kept in stage {state['name']} of {names}: "
                "resume its training before it is evaluated"
            )
