"""Training in stages: each trains a part of the model with the rest frozen, then keeps its best."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from recbole_atjt.checkpoint.file import Checkpoint
from recbole_atjt.checkpoint.run import TrainingState
from recbole_atjt.errors import UsageError
from recbole_atjt.model.staged import Stage
from recbole_atjt.training.trainer import DenoisingTrainer


class StagedTrainer(DenoisingTrainer):
    """Trains a :class:`~recbole_atjt.model.staged.StagedModel` stage by stage.

    Each stage has an optimiser of its own part's parameters and an early stopping that starts anew.
    Its best state, by validation, is taken up before the next stage begins; without validation it
    is the last one. Epochs are counted through all stages.

    Args:
        config: RecBole's Config.
        model: The model.
    """

    trains_in_stages = True
    epochs: int
    eval_step: int
    train_loss_dict: dict[int, float]

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        stages: Any = model.stages
        self._stages: Sequence[Stage] = stages
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
        """Train stage by stage.

        Returns:
            Best validation score and result of the last stage, or of what the model predicts in the
            end where that is something else.
        """

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

    def state(self, epoch: int) -> TrainingState:
        """Return all that a resume needs, the stage included."""
        found = super().state(epoch)
        if self._stage is None:
            return found
        stage = {"name": self._stages[self._stage].name, "first_epoch": self._first_epoch}
        return replace(found, stage=stage)

    def take_up(self, state: TrainingState) -> None:
        """Go on in the stage of a state, whose model is loaded."""
        if state.stage is not None:
            names = [stage.name for stage in self._stages]
            self._start_stage(names.index(state.stage["name"]), state.stage["first_epoch"])
            assert self._part is not None
            self._best_part = copy.deepcopy(self._part.state_dict())
        super().take_up(state)

    def _refuse_unfinished(self, path: str, loaded: Checkpoint) -> None:
        """Refuse to evaluate a checkpoint whose later stages were never trained.

        Raises:
            UsageError: The checkpoint was kept before the last stage.
        """
        stage = loaded.meta.get("stage")
        if stage is not None and stage["name"] != self._stages[-1].name:
            names = ", ".join(each.name for each in self._stages)
            raise UsageError(
                f"checkpoint {path} was kept in stage {stage['name']} of {names}: "
                "resume its training before it is evaluated"
            )
