"""Trainings that judge interactions after each epoch, and the means of what they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import UserDataLoader
from scipy.special import expit, logit

from recbole_atjt.assembly import Assembled, assemble_on
from recbole_atjt.data.clicks import clicks_in_order
from recbole_atjt.data.loaders import PhaseLoader
from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import with_values
from recbole_atjt.host.repairs.disk import figures_in
from recbole_atjt.host.screen import shows_progress
from recbole_atjt.randomness import kept
from recbole_atjt.scoring.folds import Fold
from recbole_atjt.scoring.users import reads_users
from recbole_atjt.training.trainer import DenoisingTrainer
from recbole_atjt.weighting.co_occurrence import Clicks

#: Epochs that count at least: the loss on validation is flat at first, and its minimum chance.
LEAST_EPOCHS = 5
#: Largest factor of odds, as a logarithm.
_WIDEST = 40.0


class Tally:
    """Sums over epochs of what is said of n interactions.

    Args:
        size: n.
    """

    def __init__(self, size: int) -> None:
        #: Sums of the probability of noise, the weight and the loss.
        self.sums = np.zeros((3, size))
        #: Epochs that each interaction was judged in.
        self.epochs = np.zeros(size, dtype=np.int64)
        #: Probability of noise: the mean with the share of a training's last epoch.
        self.noise = np.zeros(size)
        self.has_noise = True

    def mean(self) -> np.ndarray:
        """Return the means of noise, weight and loss, ``[3, n]``."""
        means: np.ndarray = self.sums / np.maximum(self.epochs, 1)
        return means


def with_share(probability: np.ndarray, share: float) -> np.ndarray:
    r"""Return probabilities whose odds are all multiplied alike, so that their mean is a share.

    Their order stays; 0 and 1 stay what they are, unless the share is 0, which makes all 0.

    Args:
        probability: In [0, 1], ``[n]``.
        share: The mean that is wanted, in [0, 1]; what comes nearest where it can't be had.
    """
    if share <= 0:
        return np.zeros_like(probability)
    odds = logit(probability)
    low, high = -_WIDEST, _WIDEST
    for _ in range(60):
        shift = (low + high) / 2
        low, high = (shift, high) if expit(odds + shift).mean() < share else (low, shift)
    moved: np.ndarray = expit(odds + low)
    return moved


class JudgingTrainer(DenoisingTrainer):
    """Lets a judge look at its model after each epoch; stops by the loss on validation.

    Ranking metrics go on to rise long after a model has begun to fit its noise.
    """

    judge: Judge

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        losses = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
        self.judge.after_epoch(epoch_idx)
        return losses

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        if self._reward is not None:  # a strategy learns from the metric
            super()._valid_epoch(*args, **kwargs)
        loss = self.judge.validate(self.epoch)
        return (-loss if self.valid_metric_bigger else loss), {"loss": loss}


class Judge:
    """Adds what a fold's strategy says of the judged interactions to a tally.

    What it says is summed over the epochs from the warm-up to the one of the least loss on
    validation, and at least ``LEAST_EPOCHS``; over all where nothing is validated. Judging leaves
    all random states as they were.

    Args:
        fold: What is trained and judged.
        trainer: Its trainer, whose strategy judges.
        tally: Of all training interactions.
        in_sample: Whether the judged interactions are those of the training: then each is judged
            by the recogniser of its own user's group; else by all recognisers.
    """

    def __init__(self, fold: Fold, trainer: JudgingTrainer, tally: Tally, in_sample: bool) -> None:
        self.fold, self.trainer, self.tally = fold, trainer, tally
        self.weighting, self.model = trainer.weighting, trainer.model
        train = trainer.loader_of(fold.loaders[0])
        groups = list(range(self.weighting.groups))
        self._batches = self._loader(fold.batches)
        validates = fold.validated is not None and trainer.config["eval_step"] > 0
        self._validated = self._loader(fold.validated) if validates else None
        #: Groups that rows are judged as, and the rows.
        self._plan = [(groups, torch.arange(len(fold.judged)))]
        if in_sample:
            self._plan = [([group], train.rows[group]) for group in groups]
        elif self.weighting.reads_clicks:
            held_out = fold.batches._dataset
            self.weighting.meet(lambda: Clicks(*clicks_in_order(held_out)), others=True)
        self._order = torch.Generator().manual_seed(trainer.config["seed"])
        self._pending = np.zeros((3, len(fold.judged)))
        #: Mean probability of noise in the latest epoch.
        self._share = 0.0
        self._waiting = 0
        self._least = math.inf

    def _loader(self, batches: Any) -> PhaseLoader:
        everyone = torch.zeros(len(batches._dataset), dtype=torch.long)
        fields = self.model.history_field, self.model.item_field
        return PhaseLoader(batches, everyone, *fields, with_others=False)

    def first_batch(self) -> Any:
        """Return a small batch of what is judged."""
        return self._batches.first_batch().to(self.trainer.device)

    def after_epoch(self, epoch: int) -> None:
        """Judge all interactions once, unless the strategy still warms up."""
        if epoch < self.weighting.warm_up:
            return
        before = self._pending[0].sum()
        with kept():
            for groups, rows in self._plan:
                shuffled = rows[torch.randperm(len(rows), generator=self._order)]
                for some in torch.split(shuffled, self._batches.train_data.step):
                    self._pending[:, some.numpy()] += self._said(self._batches, groups, some)
        self._waiting += 1
        self._share = float(self._pending[0].sum() - before) / len(self.fold.judged)
        counted = self.tally.epochs[self.fold.judged.numpy()].max()
        if self._validated is None or counted < LEAST_EPOCHS:
            self._take()

    def validate(self, epoch: int) -> float:
        """Return the mean loss on validation; where it is the least, what was said counts.

        In the warm-up it is infinite, so that it stops no training.
        """
        assert self._validated is not None
        if epoch < self.weighting.warm_up:
            return math.inf
        size = len(self._validated.dataset)
        with kept():
            parts = [
                self._said(self._validated, [0], rows)[2]
                for rows in torch.split(torch.arange(size), self._validated.train_data.step)
            ]
        loss = float(np.concatenate(parts).mean())
        if loss < self._least:
            self._least = loss
            self._take()
        return loss

    def _said(self, batches: PhaseLoader, groups: list[int], rows: torch.Tensor) -> np.ndarray:
        """Return probability of noise (0 where none is said), weight and loss, ``[3, m]``."""
        batch = batches.collate((groups[0], rows.numpy(), None)).to(self.trainer.device)
        loss, said = self.model.judge(batch, groups)
        self.tally.has_noise = said.noise is not None
        noise = torch.zeros_like(said.weight) if said.noise is None else said.noise
        values = torch.stack([noise.double(), said.weight.double(), loss.double()])
        found: np.ndarray = values.cpu().numpy()
        return found

    def _take(self) -> None:
        """Let what was said since the last time count."""
        place = self.fold.judged.numpy()
        self.tally.sums[:, place] += self._pending
        self.tally.epochs[place] += self._waiting
        self._pending[:], self._waiting = 0.0, 0

    def close(self) -> None:
        """Give the means of noise the share that the training's last epoch found.

        The share is learned, from far too much on; without this the scores would keep the mean of
        all that it has been.
        """
        place = self.fold.judged.numpy()
        self.tally.noise[place] = with_share(self.tally.mean()[0][place], self._share)


def train_fold(config: Any, fold: Fold, tally: Tally, in_sample: bool, folder: str) -> Assembled:
    """Train a fold, and judge its interactions after each epoch from the warm-up on.

    Args:
        config: The call's config; its strategy weighs.
        fold: What is trained and judged.
        tally: Where what is said goes.
        in_sample: See :class:`Judge`.
        folder: Where the fold's own files go, such as a pretrained model.

    Raises:
        UsageError: The training ended before the strategy had anything to say.
    """
    name = config["model"]
    if isinstance(fold.loaders[0], UserDataLoader):
        raise UsageError(f"model={name} trains on users, not on single clicks: it scores none")
    config = with_values(config, checkpoint_dir=folder)
    with figures_in(None):
        ready = assemble_on(config, fold.loaders, lambda model: JudgingTrainer)
    trainer = ready.trainer
    assert isinstance(trainer, JudgingTrainer)
    trainer.judge = Judge(fold, trainer, tally, in_sample)
    if not in_sample and reads_users(
        trainer.bare_model, trainer.judge.first_batch(), trainer.model.user_field
    ):
        raise UsageError(
            f"model={name} knows users by their ids, so that it can't judge those it was not "
            "trained on: use a sequential model without them, or --in_sample"
        )
    show = shows_progress(config)
    trainer.fit(ready.train_data, ready.valid_data, saved=False, show_progress=show)
    if not tally.epochs[fold.judged.numpy()].all():
        raise UsageError(
            f"epochs={config['epochs']} ends before weighting={config['weighting']} says anything: "
            f"its first {trainer.weighting.warm_up} epochs are its warm-up"
        )
    trainer.judge.close()
    return ready
