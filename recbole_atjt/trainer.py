"""RecBole's Trainer with single verbs overridden: phases, two optimisers, safe checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from recbole.trainer import Trainer
from recbole.utils import set_color
from torch import nn

from recbole_atjt import checkpoint
from recbole_atjt.criterion import verify_seam
from recbole_atjt.data.groups import deal_users
from recbole_atjt.data.loaders import PhaseLoader
from recbole_atjt.errors import AtjtError, TrainingError, UsageError
from recbole_atjt.evaluation import JointEvaluation
from recbole_atjt.optimizer import JointOptimizer
from recbole_atjt.refusals import in_one_line, raised_by_recbole
from recbole_atjt.resume import resume_training, save_training
from recbole_atjt.revised_validation import RevisedValidation
from recbole_atjt.reward import RewardedTraining
from recbole_atjt.staged import StagedTraining
from recbole_atjt.wrapper import DenoisingRecommender

#: The mean weight should stay inside; outside, weights have collapsed or do not weigh.
HEALTHY_MEAN_WEIGHT = (0.05, 0.95)


class DenoisingTrainer(
    StagedTraining, RewardedTraining, JointEvaluation, RevisedValidation, Trainer
):
    """Trains a :class:`DenoisingRecommender`; a bare RecBole model trains exactly as in RecBole.

    Args:
        config: RecBole's ``Config`` or ours.
        model: A :class:`DenoisingRecommender`, or any RecBole model.
    """

    saved_model_file: str

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        self.saved_model_file = self.saved_model_file[: -len(".pth")] + ".safetensors"
        self.best_epoch = -1
        self.epoch_seconds: list[float] = []
        self.warnings: list[str] = []
        self.history: list[dict[str, float]] = []
        self.loader: Any = None
        self._verified = False
        self.epoch = self.batch = 0

    @property
    def weighting(self) -> Any:
        """The model's strategy; None for plain training."""
        return self.model.weighting if isinstance(self.model, DenoisingRecommender) else None

    @property
    def bare_model(self) -> Any:
        """The RecBole model itself, without the wrapper."""
        return self.model.recommender if self.weighting is not None else self.model

    def _build_optimizer(self, **kwargs: Any) -> Any:
        optimizer = super()._build_optimizer(**kwargs)
        own = self.weighting.build_optimizer() if self.weighting is not None else None
        return optimizer if own is None else JointOptimizer(optimizer, own)

    def phases(self, train_data: Any) -> Any:
        """Return what an epoch iterates over: RecBole's loader, or its phases with B^D beside."""
        if self.loader is None:
            self.loader = train_data if self.weighting is None else self._build_phases(train_data)
        return self.loader

    def _build_phases(self, train_data: Any) -> PhaseLoader:
        model, settings = self.model, self.model.settings
        users = train_data._dataset.inter_feat[model.user_field]
        if self.weighting.wants_groups:
            groups = deal_users(users, settings.atjt_groups, self.config["seed"])
        else:
            groups = torch.zeros(len(users), dtype=torch.long)
        return PhaseLoader(
            train_data,
            groups,
            model.history_field,
            model.item_field,
            with_others=self.weighting.wants_other_groups,
        )

    def fit(self, train_data: Any, *args: Any, **kwargs: Any) -> Any:
        """Train as RecBole does; a strategy that trains alone first (DNR) does so before."""
        if self.weighting is not None and self.start_epoch == 0:
            self.weighting.prepare(self.phases(train_data).other_sequences)
        try:
            return super().fit(train_data, *args, **kwargs)
        finally:
            self.tensorboard.close()

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        loader = self.phases(train_data)
        self.epoch, self.batch = epoch_idx, 0
        if self.weighting is not None:
            self.model.epoch = epoch_idx
            self.weighting.start_epoch(epoch_idx)
            loader.phases = self.weighting.phases(epoch_idx)
            with self._named_failures():
                self._verify(loader)
        start = perf_counter()
        with self._named_failures():
            losses = super()._train_epoch(loader, epoch_idx, loss_func, show_progress)
        self.epoch_seconds.append(perf_counter() - start)
        if self.weighting is not None:
            self.weighting.end_epoch(epoch_idx)
            self._watch_weights(epoch_idx)
        return losses

    def _verify(self, loader: PhaseLoader) -> None:
        """Refuse, once, a model that computes part of its loss where no weight reaches it."""
        if self._verified:
            return
        self._verified = True
        state = checkpoint.capture_rng()
        verify_seam(self.bare_model.train(), loader.first_batch().to(self.device))
        checkpoint.restore_rng(state)

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        """Say where training failed; a model that RecBole cannot even start has wrong settings."""
        where = f"epoch {self.epoch}, batch "
        try:
            yield
        except TrainingError as error:
            raise TrainingError(
                f"{where}{self.batch}: {error}: try {self._remedies()}; {self.what_is_saved()}"
            ) from error
        except (AtjtError, MemoryError):
            raise
        except Exception as error:
            first = self.batch == 0 and self.epoch == self.start_epoch
            if not (first and raised_by_recbole(error)):
                raise
            hint = ""
            if isinstance(error, KeyError):
                hint = " is missing: see load_col, threshold and train_neg_sample_args"
            raise TrainingError(
                f"model={self.config['model']} fails on its first batch: {in_one_line(error)}{hint}"
            ) from error

    def _watch_weights(self, epoch: int) -> None:
        """Note the epoch's figures, and warn where the mean weight leaves its healthy range."""
        report = self.weighting.report
        figures = {"epoch": float(epoch), "mean_weight": report.weights.mean}
        for name in ("true_positive", "false_positive", "recognizer_loss"):
            moments = getattr(report, name)
            if moments.count:
                figures[name] = moments.mean
        self.history.append(figures)
        low, high = HEALTHY_MEAN_WEIGHT
        if not low <= report.weights.mean <= high and not self.weighting.free_scale:
            text = (
                f"epoch {epoch}: the mean weight {report.weights.mean:.3f} left [{low}, {high}]: "
                "try atjt_normalize=mean, atjt_joint_gradient=False or a larger atjt_alpha"
            )
            self.warnings.append(text)
            self.logger.warning(text)

    def what_is_saved(self) -> str:
        """Say in one clause which model is kept where."""
        if self.best_epoch < 0:
            return "no model was saved before"
        return f"the best model (epoch {self.best_epoch}) is kept in {self.saved_model_file}"

    def _remedies(self) -> str:
        rates = [f"learning_rate (now {self.learning_rate})"]
        if isinstance(self.optimizer, JointOptimizer):
            own = self.model.settings.atjt_recognizer_learning_rate
            rates.append(f"atjt_recognizer_learning_rate (now {own})")
        return f"a smaller {' or '.join(rates)}, or clip_grad_norm={{max_norm: 1.0}}"

    def _check_nan(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()}")
        self.batch += 1

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: Any
    ) -> str:
        """Add the recogniser's loss and the mean weight to RecBole's line."""
        if self.weighting is None:
            return str(super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses))
        main = losses[0] if isinstance(losses, tuple) else losses
        line = str(super()._generate_train_loss_output(epoch_idx, s_time, e_time, main))[:-1]
        report = self.weighting.report
        if report.recognizer_loss.count:
            line += f", {set_color('recogniser loss', 'blue')}: {report.recognizer_loss.mean:.4f}"
        return f"{line}, {set_color('mean weight', 'blue')}: {report.weights.mean:.4f}]"

    def _add_train_loss_to_tensorboard(
        self, epoch_idx: int, losses: Any, tag: str = "Loss/Train"
    ) -> None:
        super()._add_train_loss_to_tensorboard(epoch_idx, losses, tag)
        if self.history and self.history[-1]["epoch"] == epoch_idx:
            for name, value in self.history[-1].items():
                if name != "epoch":
                    self.tensorboard.add_scalar(f"Weighting/{name}", value, epoch_idx)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        path = kwargs.pop("saved_model_file", self.saved_model_file)
        self.best_epoch = epoch
        save_training(str(path), self, epoch)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def resume_checkpoint(self, resume_file: Any, train_data: Any = None) -> None:
        """Go on from a checkpoint of this package: model, optimisers, counters, randomness.

        Args:
            resume_file: A checkpoint that this trainer's ``fit`` wrote.
            train_data: The loader that ``fit`` will be given; needed to go on exactly.

        Raises:
            UsageError: Without ``train_data``, or a checkpoint of another run.
        """
        if train_data is None:
            raise UsageError("resume_checkpoint needs train_data, to go on with its random state")
        resume_training(str(resume_file), self, train_data)
        self.saved_model_file = str(resume_file)
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """Evaluate as RecBole does; the best model comes from a checkpoint without pickle."""
        if eval_data and load_best_model:
            path = model_file or self.saved_model_file
            loaded = checkpoint.load_checkpoint(path, device=self.device)
            self.refuse_unfinished(path, loaded.meta.get("stage"))
            checkpoint.load_model(self.bare_model, loaded)
            self.logger.info(f"Loading model structure and parameters from {path}")
        return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
