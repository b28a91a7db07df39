"""The trainer: RecBole's, with single verbs overridden for phases and two optimisers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.utils import set_color
from torch import nn

from recbole_atjt.checkpoint.catalogue import catalogue_of
from recbole_atjt.checkpoint.file import well_formed
from recbole_atjt.checkpoint.model import load_model, other_parameters
from recbole_atjt.checkpoint.run import (
    TrainingState,
    load_training,
    save_training,
)
from recbole_atjt.data.loaders import PhaseLoader
from recbole_atjt.data.user_groups import deal_users
from recbole_atjt.errors import AtjtError, TrainingError, UsageError
from recbole_atjt.host.vocabulary import interactions_of
from recbole_atjt.model.staged import StagedModel
from recbole_atjt.parallel.gradients import sum_after_backward
from recbole_atjt.parallel.group import alike, copy_of, is_first, size
from recbole_atjt.randomness import capture_rng, kept, restore_rng
from recbole_atjt.seam.checks import Checks
from recbole_atjt.seam.selftest import verify_seam
from recbole_atjt.training.beginning import Beginning, BeginsAgain
from recbole_atjt.training.choice import active_weighting, refuse_misspelt
from recbole_atjt.training.device import OnDevice, read, unread
from recbole_atjt.training.evaluating import EvaluatingTrainer
from recbole_atjt.training.failures import named_failures
from recbole_atjt.training.masking import Masking, put_mask
from recbole_atjt.training.notes import EpochNotes, Progress
from recbole_atjt.training.optimizer import JointOptimizer
from recbole_atjt.training.reward import Reward
from recbole_atjt.training.sharing import (
    SharedLoss,
    require_finite,
    said_once,
    settle,
    total_losses,
)
from recbole_atjt.training.stepwise import Stepwise, Sums, inside, steps_of

#: Batches after which it is asked whether all steps so far went well, where each one is not.
_ASKED = 100


class DenoisingTrainer(EvaluatingTrainer):
    """Trains a :class:`DenoisingRecommender`; a bare RecBole model trains exactly as in RecBole.

    A strategy's phases, optimiser, notes and reward are parts that it asks where RecBole's verbs
    come by; evaluation is its base's.

    Args:
        config: RecBole's ``Config`` or ours.
        model: A :class:`DenoisingRecommender`, or any RecBole model.

    Raises:
        UsageError: A model that is trained in stages, which has a trainer of its own, or a
            misspelt key of ours.
    """

    start_epoch: int
    best_valid_result: Any
    #: Whether it trains models in stages.
    trains_in_stages = False
    #: Whether it trains weighted models.
    trains_weighted = True

    def __init__(self, config: Any, model: nn.Module) -> None:
        bare = getattr(model, "recommender", model)
        if isinstance(bare, StagedModel) and not self.trains_in_stages:
            raise UsageError(
                f"model={type(bare).__name__} is trained in stages: use "
                "recbole_atjt.StagedTrainer, or recbole_atjt.assemble, which chooses it"
            )
        refuse_misspelt(config)
        super().__init__(config, model)
        #: Where the state after each epoch goes, beside the best model; None keeps none.
        self.last_model_file: str | None = None
        self.best_epoch = -1
        self._data = ""
        self._dataset: Any = None
        self._catalogue: dict[str, Any] | None = None
        self._unsaved = False  # whether a training ended that kept no model
        self.epoch_seconds: list[float] = []
        self._notes = EpochNotes()
        self._progress = Progress()
        self.loader: Any = None
        self._masking: Masking | None = None
        self._resumed: TrainingState | None = None  # inside an epoch
        self._steps = 0
        self.epoch = self.batch = 0
        checks = getattr(model, "checks", None)
        self.checks = checks if isinstance(checks, Checks) else Checks.on(self.device)
        self._verified = False
        self._shared: SharedLoss | None = None
        self._reward = Reward.of(self.weighting)
        self._beginning: Beginning | None = None
        self._begun = 0  # the epoch with which training began, or began again last
        self._begins_again = False  # whether it does so before the next epoch

    @property
    def history(self) -> list[dict[str, float]]:
        """What the strategy said of each epoch, ``epoch`` and ``mean_weight`` among the names."""
        return self._notes.history

    @property
    def begun(self) -> int:
        """The epoch with which training began again; 0 where it did not."""
        return self._begun

    @property
    def progress(self) -> list[dict[str, float]]:
        """Loss and validation score of each epoch, as ``epoch``, ``loss`` and ``valid``."""
        return self._progress.listed()

    @property
    def warnings(self) -> list[str]:
        """What the strategy complained about, a line each."""
        return self._notes.complaints

    def _build_optimizer(self, **kwargs: Any) -> Any:
        optimizer = super()._build_optimizer(**kwargs)
        own = self.weighting.build_optimizer() if self.weighting is not None else None
        return optimizer if own is None else JointOptimizer(optimizer, own)

    def loader_of(self, train_data: Any) -> Any:
        """Return what makes the batches: RecBole's loader, or its phases with B^D beside them."""
        if self.loader is None:
            self.loader = train_data if self.weighting is None else self._deal(train_data)
            self._masking = Masking.of(self.config, train_data._dataset, self.weighting)
        return self.loader

    def _deal(self, train_data: Any) -> PhaseLoader:
        model, weighting = self.model, self.weighting
        users = train_data._dataset.inter_feat[model.user_field]
        groups = torch.zeros(len(users), dtype=torch.long)
        if weighting.groups_key:
            seed = self.config["seed"]
            groups = deal_users(users, weighting.groups, seed, weighting.groups_key)
        return PhaseLoader(
            train_data,
            groups,
            model.history_field,
            model.item_field,
            with_others=weighting.wants_other_groups,
            mixed=weighting.mixes_groups,
        )

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as RecBole does; a strategy that trains alone first (DNR) does so before.

        Raises:
            UsageError: A strategy learns from a validation that there is not, or the config names
                one and the model is not wrapped.
        """
        self.logger.info(active_weighting(self.config, self.weighting))
        self._steps = steps_of(self.config, self.last_model_file)
        if self._reward is not None:
            self._reward.require(self.config, valid_data)
        if self.start_epoch == 0 and self._resumed is None:
            put_mask(train_data._dataset, None, "")
            loader = self.loader_of(train_data)
            self._note_beginning()
            if self.weighting is not None:
                self.weighting.prepare(loader.other_sequences)
        self._unsaved = self.best_epoch < 0
        self._data = interactions_of(train_data._dataset)
        self._dataset, self._catalogue = train_data._dataset, None
        if size() > 1:
            alike(self._data, "training data")
            times = getattr(train_data, "times", 1)
            self._shared = SharedLoss(self.model, times, self._place)
        if kwargs.get("saved", True):
            self._require_keeping()
        try:
            while True:
                with suppress(BeginsAgain):
                    found = super().fit(train_data, valid_data, *args, **kwargs)
                    self._conclude()
                if not self._begins_again:
                    return found
                step = max(1, self.eval_step)
                self._begin_again((self.epoch // step + 1) * step)
        finally:
            self.tensorboard.close()

    def _note_beginning(self) -> None:
        """Keep what training may return to."""
        if self.weighting is not None and self.weighting.may_begin_again:
            self._beginning = Beginning(
                self.bare_model, self._recommenders_optimizer, self._generators()
            )

    def _place(self) -> tuple[int, int, int]:
        return int(self.config["seed"]), self.epoch, self.batch

    def _share(self, interaction: Any) -> Any:
        """Return this process's part of the losses of a batch; of the first one, check it."""
        assert self._shared is not None
        if self.batch == 0 and self.epoch == self.start_epoch:
            found = self._shared.difference(interaction)
            if found:
                self._notes.complaints.append(
                    f"model={self.config['model']} {found}: {size()} processes train it a little "
                    "differently than one"
                )
                self.logger.warning(self._notes.complaints[-1])
        return self._shared(interaction)

    def _require_keeping(self) -> None:
        """Refuse a model whose best state could not be written after it was trained."""
        try:
            other_parameters(self.bare_model)
        except TrainingError as error:
            raise UsageError(f"{error}: use another model") from error

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        batches = self.loader_of(train_data)
        if self.last_model_file is not None and epoch_idx > self.start_epoch:
            self._save(self.last_model_file, self.state(epoch_idx - 1))
        if self._begins_again and epoch_idx % max(1, self.eval_step) == 0:
            self.epoch = epoch_idx - 1
            raise BeginsAgain
        self.epoch, self.batch, self.checks.batch = epoch_idx, 0, 0
        if self.weighting is not None:
            self.model.start_epoch(epoch_idx)
            with named_failures(self):
                self._verify(batches)
            batches = batches.epoch(self.weighting.phases(epoch_idx))
        if self._masking is not None:
            self._masking.start()
        start = perf_counter()
        with named_failures(self):
            losses = self._train_steps(batches, epoch_idx, loss_func, show_progress)
        self.epoch_seconds.append(perf_counter() - start)
        self._progress.take(epoch_idx, losses, self.batch)
        settle(self.bare_model, self.weighting)
        if self.weighting is not None:
            if self._masking is not None:
                self._masking.close(epoch_idx)
            self.weighting.end_epoch(epoch_idx)
            self._ask_for_beginning()
            masked = {} if self._masking is None else {"masked_share": self._masking.share}
            complaint = self._notes.take(epoch_idx, self.weighting, masked)
            if complaint is not None:
                self.logger.warning(complaint)
        return losses

    def _conclude(self) -> None:
        """Let a strategy that holds something back until it knows enough know that this is all."""
        if self.weighting is not None and not self._begins_again:
            self.weighting.conclude()
            self._ask_for_beginning()

    def _ask_for_beginning(self) -> None:
        """Note whether the strategy wants another beginning, of which there is but one."""
        may = self._beginning is not None and not self._begun
        self._begins_again |= may and self.weighting.begins_again

    def _begin_again(self, epoch: int) -> None:
        """Let the training that is plain so far be none: all of it begins again with ``epoch``."""
        assert self._beginning is not None
        generators = self._generators()
        self._beginning.restore(self.bare_model, self._recommenders_optimizer, generators)
        self.epochs += epoch - self._begun
        self._begun = self.start_epoch = epoch
        self._begins_again = False
        self.cur_step, self.best_epoch, self._unsaved = 0, -1, True
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result = None
        known = self._notes.history[-1].get("weighted_share", 0.0)
        self.logger.info(
            f"training begins again with epoch {epoch}: the share of noise is known, {known:.3f}"
        )

    @property
    def _recommenders_optimizer(self) -> Any:
        return getattr(self.optimizer, "recommender", self.optimizer)

    def _train_steps(self, batches: Any, epoch: int, loss_func: Any, show_progress: bool) -> Any:
        """Train an epoch's batches, or those that are left of it; return the sums of its losses."""
        plain = loss_func or self.model.calculate_loss
        loss_of = plain if self._shared is None else self._share
        if self._masking is not None:
            loss_of = partial(self._noted, loss_of)
        if not self.checks.waits:
            loss_of = unread(loss_of)
        state, self._resumed = self._resumed, None
        if state is None and not self._steps:
            return self._summed_up(
                super()._train_epoch(self._sent(batches), epoch, loss_of, show_progress)
            )
        done = self._go_on_inside(state) if state is not None else {}
        begun = {name: one.get_state() for name, one in self._generators().items()}
        sums = Sums(done.get("sums") if is_first() else None)

        def keep(number: int) -> None:
            self._ask()
            here = inside(number, total_losses(tuple(sums.found)), begun, self.weighting)
            if self._masking is not None:
                here["masking"] = self._masking.in_epoch()
            try:
                self._save(str(self.last_model_file), replace(self.state(epoch - 1), inside=here))
            except TrainingError as error:
                raise AtjtError(str(error)) from error

        def go_on() -> None:
            assert state is not None
            restore_rng(state.rng, self._generators())

        self.batch = self.checks.batch = int(done.get("batch", 0))
        left = Stepwise(batches, self.batch, go_on, self._steps, keep)
        super()._train_epoch(self._sent(left), epoch, sums.watching(loss_of), show_progress)
        return self._summed_up(sums.as_losses())

    def _sent(self, batches: Any) -> Any:
        """Return the batches, on their way to the device."""
        return OnDevice(batches, self.device) if self.device.type == "cuda" else batches

    def _summed_up(self, losses: Any) -> Any:
        """Return an epoch's sums of losses, all of which were finite."""
        self._ask()
        return total_losses(read(losses))

    def _ask(self) -> None:
        """Ask what was required of the steps so far."""
        try:
            with said_once():
                self.checks.ask()
        except TrainingError:
            self.batch = self.checks.batch
            raise

    def _noted(self, loss_of: Any, interaction: Any) -> Any:
        """Return a batch's losses, after which the strategy's word on its clicks is noted."""
        losses = loss_of(interaction)
        assert self._masking is not None
        self._masking.note(interaction.rows)
        return losses

    def _go_on_inside(self, state: TrainingState) -> Mapping[str, Any]:
        """Take up what the start of an epoch has changed; return where the epoch was."""
        assert state.inside is not None
        if self.weighting is not None:
            self.weighting.load_state_dict(dict(state.weighting))
            self.weighting.go_on_in_epoch(state.inside["weighting"])
        if self._masking is not None:
            self._masking.go_on_in_epoch(state.inside["masking"])
        self.optimizer.load_state_dict(state.optimizer)
        for name, one in self._generators().items():
            one.set_state(state.inside["generators"][name])
        return state.inside

    def _verify(self, loader: PhaseLoader) -> None:
        """Refuse, once, a model that computes part of its loss where no weight reaches it."""
        if self._verified:
            return
        self._verified = True
        with kept():
            verify_seam(self.bare_model.train(), loader.first_batch().to(self.device))

    def what_is_saved(self) -> str:
        """Say in one clause which model is kept where."""
        if self.best_epoch < 0:
            return "no model was saved before"
        return f"the best model (epoch {self.best_epoch}) is kept in {self.saved_model_file}"

    def _check_nan(self, loss: torch.Tensor) -> None:
        require_finite(loss, self.checks)
        if self._shared is not None:
            groups = self.optimizer.param_groups
            sum_after_backward(loss, [each for group in groups for each in group["params"]])
        self.batch += 1
        self.checks.batch = self.batch
        if self.batch % _ASKED == 0:
            self._ask()

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: Any
    ) -> str:
        """Add the figures of the strategy to RecBole's line."""
        if self.weighting is None:
            return str(super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses))
        main = losses[0] if isinstance(losses, tuple) else losses
        line = str(super()._generate_train_loss_output(epoch_idx, s_time, e_time, main))[:-1]
        for name, value in self._notes.figures_of(epoch_idx).items():
            line += f", {set_color(name.replace('_', ' '), 'blue')}: {value:.4f}"
        return f"{line}]"

    def _add_train_loss_to_tensorboard(
        self, epoch_idx: int, losses: Any, tag: str = "Loss/Train"
    ) -> None:
        super()._add_train_loss_to_tensorboard(epoch_idx, losses, tag)
        for name, value in self._notes.figures_of(epoch_idx).items():
            self.tensorboard.add_scalar(f"Weighting/{name}", value, epoch_idx)

    def state(self, epoch: int) -> TrainingState:
        """Return all that a resume at the end of ``epoch`` needs beside the model."""
        return TrainingState(
            epoch=epoch,
            cur_step=self.cur_step,
            best_valid_score=self.best_valid_score,
            optimizer=self.optimizer.state_dict(),
            weighting={} if self.weighting is None else self.weighting.state_dict(),
            rng=capture_rng(self._generators()),
            data=self._data,
            record=self._record(self.best_epoch),
            mask=None if self._masking is None else self._masking.state(),
            first_rng=None if self._beginning is None else self._beginning.rng,
        )

    def _record(self, best_epoch: int) -> dict[str, Any]:
        return {
            "best_epoch": best_epoch,
            "best_valid_result": dict(self.best_valid_result or {}),
            "train_loss": dict(self.train_loss_dict),
            "seconds": list(self.epoch_seconds),
            "losses": dict(self._progress.losses),
            "scores": dict(self._progress.scores),
            "history": list(self._notes.history),
            "complaints": list(self._notes.complaints),
            "begun": self._begun,
            "begins_again": self._begins_again,
        }

    def _take_up_record(self, record: Mapping[str, Any]) -> None:
        self.best_epoch = int(record["best_epoch"])
        self.best_valid_result = dict(record["best_valid_result"]) or None
        self.train_loss_dict = dict(record["train_loss"])
        self.epoch_seconds = list(record["seconds"])
        self._progress = Progress(dict(record["losses"]), dict(record["scores"]))
        self._notes = EpochNotes(list(record["history"]), list(record["complaints"]))
        begun = int(record.get("begun", 0))
        self.epochs += begun - self._begun
        self._begun, self._begins_again = begun, bool(record.get("begins_again", False))

    def take_up(self, state: TrainingState) -> None:
        """Go on from a state, whose model is loaded and whose loader is there.

        Args:
            state: What :meth:`state` gave in a run of the same settings.
        """
        if self.weighting is not None:
            self.weighting.load_state_dict(dict(state.weighting))
        # Its tensors become the optimiser's, which the start of an epoch may change.
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        self.start_epoch = state.epoch + 1
        self._take_up_record(state.record)
        if self._beginning is not None and state.first_rng is not None:
            self._beginning.rng = state.first_rng
        self.cur_step, self.best_valid_score = state.cur_step, state.best_valid_score
        restore_rng(state.rng, self._generators())
        self._resumed = None if state.inside is None else state

    def _generators(self) -> dict[str, torch.Generator]:
        generator = getattr(self.loader, "generator", None)
        return {"loader": generator} if isinstance(generator, torch.Generator) else {}

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        path = kwargs.pop("saved_model_file", self.saved_model_file)
        if self._catalogue is None and self._dataset is not None:
            self._catalogue = catalogue_of(self._dataset, self.bare_model).packed()
        state = replace(self.state(epoch), record=self._record(epoch))
        catalogue = self._catalogue
        if self._masking is not None and catalogue is not None:
            catalogue = self._masking.of_known(catalogue, self.config["plant"] is not None)
        self._save(str(path), state, catalogue)
        self.best_epoch, self._unsaved = epoch, False
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def _save(
        self, path: str, state: TrainingState, catalogue: Mapping[str, Any] | None = None
    ) -> None:
        if not is_first():
            return
        try:
            save_training(path, self.config, self.bare_model, state, catalogue)
        except TrainingError as error:
            raise TrainingError(f"{error}; {self.what_is_saved()}") from error

    def _load_best(self, path: str, dataset: Any) -> None:
        """Load a checkpoint, but never what lay in the place of one that was not written.

        Raises:
            TrainingError: This training kept no model.
        """
        if self._unsaved and path == self.saved_model_file:
            key, scores = self.config["valid_metric"], list(self._progress.scores.values())
            reason = f"{key} was {scores[-1]} at the last validation" if scores else "saved=False"
            raise TrainingError(f"no epoch was kept ({reason}): there is no best model to evaluate")
        super()._load_best(path, dataset)

    def resume_checkpoint(self, resume_file: Any, train_data: Any = None) -> None:
        """Go on from a checkpoint of this package: model, optimisers, counters, randomness.

        Args:
            resume_file: A checkpoint that this trainer's ``fit`` wrote; the best model goes on to
                be kept there, unless it is ``last_model_file``.
            train_data: The loader that ``fit`` will be given; needed to go on exactly.

        Raises:
            UsageError: Without ``train_data``, or a checkpoint of another run.
        """
        if train_data is None:
            raise UsageError("resume_checkpoint needs train_data, to go on with its random state")
        path = str(resume_file)
        self._data = interactions_of(train_data._dataset)
        with well_formed(path), copy_of(path) as copy:
            found, state = load_training(
                copy, self.config, self.bare_model, self._data, self.device
            )
            self.loader_of(train_data)
            self._note_beginning()  # before it is gone
            load_model(self.bare_model, found)
            put_mask(train_data._dataset, state.mask, path)
            self.take_up(state)
        if path != self.last_model_file:
            self.saved_model_file = path
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        score, result = super()._valid_epoch(valid_data, show_progress)
        self._progress.scores.setdefault(self.epoch, float(score))
        if self._reward is not None:
            self._reward.hand_on(result)
        return score, result
