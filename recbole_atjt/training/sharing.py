"""How a training is shared by several processes; alone, nothing of it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Union

import torch
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.host.traits import traits_of
from recbole_atjt.model.staged import StagedModel
from recbole_atjt.parallel.group import (
    SaidElsewhere,
    is_first,
    same_as_first,
    size,
    summed,
)
from recbole_atjt.parallel.share import Share
from recbole_atjt.randomness import kept
from recbole_atjt.seam.checks import Checks
from recbole_atjt.training.streams import own_numbers
from recbole_atjt.weighting.mask_key import MASK_KEY, mask_below

Losses = Union[Tensor, tuple[Tensor, ...]]
#: How far a batch's loss may be from the mean over its shares, relatively.
_ALIKE = 1e-4
#: Sequences of the batch that this is tried on, and how many at a time.
_TRIED, _TOGETHER = 32, 2


def refuse_alone(config: Any) -> None:
    """Refuse what several processes can't train, before anything is built.

    Args:
        config: RecBole's Config or ours.

    Raises:
        UsageError: The model is trained by one process only.
    """
    if size() == 1:
        return
    reason, kind = "", config["MODEL_TYPE"]
    if mask_below(config) is not None:
        raise UsageError(f"{MASK_KEY}={config[MASK_KEY]} goes with one process, not {size()}")
    if issubclass(config.model_class, StagedModel):
        reason = "is trained in stages"
    elif traits_of(config.model_class).is_pretrained:
        reason = "is pretrained"
    elif kind == ModelType.TRADITIONAL:
        reason = "is not trained by gradients"
    elif kind == ModelType.KNOWLEDGE:
        reason = "has two kinds of batches, clicks and a graph's"
    if reason:
        raise UsageError(f"model={config['model']} {reason}: use one process, not {size()}")


class SharedLoss:
    r"""The loss of a process's share of each batch, scaled so that the processes' add up.

    .. math:: L = \sum_r \frac{S_r}{S} L_r

    is the batch's loss wherever the model's is a mean over rows, or does not depend on them.

    Args:
        model: The model; a weighted one takes its share itself.
        times: Rows of a sequence, its sampled negatives included.
        place: Gives seed, epoch and batch.
    """

    def __init__(self, model: Any, times: int, place: Callable[[], tuple[int, int, int]]) -> None:
        self._model, self._times, self._place = model, times, place
        self._weighted = getattr(model, "weighting", None) is not None

    def share_of(self, interaction: Any) -> Share:
        """Return this process's share of a batch."""
        rows = len(interaction)
        return Share.of(getattr(interaction, "sequences", None) or rows // self._times, rows)

    def __call__(self, interaction: Any) -> Losses:
        """Return this process's part of the batch's losses."""
        share = self.share_of(interaction)
        with own_numbers(*self._place()):
            given = interaction if self._weighted else share.cut(interaction)
            losses: Losses = self._model.calculate_loss(given)
        if isinstance(losses, tuple):
            return tuple(part * share.factor for part in losses)
        return losses * share.factor

    @torch.no_grad()
    def difference(self, interaction: Any) -> str:
        """Say how shares of a batch differ from the whole; nothing where they do not."""
        bare = getattr(self._model, "recommender", self._model)
        if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in bare.modules()):
            return "normalises by what is beside a sample in its batch, here in its share"
        whole = self.share_of(interaction)
        few = min(_TRIED, whole.sequences)
        rows = torch.arange(whole.rows).view(whole.times, -1)[:, :few]
        training = bare.training
        bare.eval()
        try:
            with kept():
                one = _total(bare.calculate_loss(interaction[rows.flatten()]))
                mean = 0.0
                for part in rows.split(_TOGETHER, dim=1):
                    loss = _total(bare.calculate_loss(interaction[part.flatten()]))
                    mean += loss * part.numel() / rows.numel()
        finally:
            bare.train(training)
        if abs(mean - one) <= _ALIKE * max(abs(one), 1e-12):
            return ""
        return "has a loss that is no mean over the samples of a batch"


def _total(losses: Losses) -> float:
    return float(sum(losses)) if isinstance(losses, tuple) else float(losses)


def require_finite(loss: Tensor, checks: Checks) -> None:
    """Refuse a loss that is not finite, on all processes at once.

    Args:
        loss: The batch's, of this process.
        checks: Takes what it has to be.

    Raises:
        TrainingError: The batch's loss is no number, and that is asked at once.
    """
    total = loss if size() == 1 else summed(loss.detach().double().clone())
    with said_once():
        checks.require(torch.isfinite(total), "the loss is {}", total)


@contextmanager
def said_once() -> Iterator[None]:
    """Let the first process say what all of them found."""
    try:
        yield
    except TrainingError as error:
        if is_first():
            raise
        raise SaidElsewhere(str(error)) from error


def total_losses(losses: Any) -> Any:
    """Return an epoch's sums of losses over all processes."""
    if size() == 1 or losses is None:
        return losses
    parts = losses if isinstance(losses, tuple) else (losses,)
    totals = summed(torch.tensor(parts, dtype=torch.float64)).tolist()
    return tuple(totals) if isinstance(losses, tuple) else totals[0]


def settle(model: nn.Module, weighting: nn.Module | None) -> None:
    """Give every process the first one's weights, with statistics of all.

    What each has summed up of the same gradients is the same; machines of different kinds round
    differently.
    """
    if size() == 1:
        return
    modules: Sequence[nn.Module] = [model] if weighting is None else [model, weighting]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    summed(buffer).div_(size())
    for module in modules:
        same_as_first([*module.parameters(), *module.buffers()])
