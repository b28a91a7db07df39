"""An epoch whose state is kept between its steps, and that goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.settings.yaml_values import require_whole

STEPS_KEY = "checkpoint_steps"


def steps_of(config: Any, last_model_file: str | None) -> int:
    """Return after how many steps the last state is kept; 0 for after each epoch only.

    Args:
        config: RecBole's Config or ours.
        last_model_file: Where it is kept; None for nowhere.

    Raises:
        UsageError: It is no whole number, or the state can't be kept between steps.
    """
    steps = 0 if config[STEPS_KEY] is None else config[STEPS_KEY]
    if not require_whole(STEPS_KEY, steps, 0):
        return 0
    reason = ""
    if last_model_file is None:
        reason = "no last state of this training is kept: models in stages keep their best epoch"
    elif config["worker"]:
        reason = f"goes with worker=0, not {config['worker']}, whose random numbers are not kept"
    elif config["enable_scaler"]:
        reason = "goes with enable_scaler=False: a gradient scaler's state is not kept"
    if reason:
        raise UsageError(f"{STEPS_KEY}={steps}: {reason}")
    return int(steps)


class Sums:
    """Sums of an epoch's losses, batch by batch, as RecBole adds them up.

    Args:
        found: What there is already; empty for nothing.
    """

    def __init__(self, found: list[float] | None = None) -> None:
        self._sums: list[Any] = list(found or [])
        self._several = False

    @property
    def found(self) -> list[float]:
        """What they are so far."""
        return [float(each) for each in self._sums]

    def watching(self, loss_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a loss function that takes in what it gives."""

        def watched(interaction: Any) -> Any:
            losses = loss_of(interaction)
            self._several = isinstance(losses, tuple)
            parts = [part.item() for part in (losses if self._several else (losses,))]
            before = self._sums
            self._sums = [b + p for b, p in zip(before, parts)] if before else parts
            return losses

        return watched

    def as_losses(self) -> Any:
        """Return the sums in the form that the loss function has."""
        return tuple(self._sums) if self._several else self._sums[0]


class Stepwise:
    """The batches of an epoch, of which some are done, with a word in between.

    Args:
        batches: A loader of torch, or what gives one's iterator.
        done: Batches that were trained before; they are planned, but not made.
        go_on: Called before the first one that is made after these.
        every: Number of batches between two calls of ``keep``; 0 for none.
        keep: Called with the number of batches that are trained.
    """

    def __init__(
        self,
        batches: Any,
        done: int,
        go_on: Callable[[], None],
        every: int,
        keep: Callable[[int], None],
    ) -> None:
        self._batches, self._done, self._go_on = batches, done, go_on
        self._every, self._keep = every, keep

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._batches)
        if self._done:
            for _ in range(self._done):
                batches._next_index()  # the loader's plan alone
            self._go_on()
        for number in count(self._done):
            if self._every and self._done < number < len(self) and number % self._every == 0:
                self._keep(number)
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield batch


def inside(number: int, sums: list[float], generators: Mapping[str, Any], weighting: Any) -> Any:
    """Return what a resume inside an epoch needs, beside what one at its end needs.

    Args:
        number: Batches that are trained.
        sums: Sums of their losses.
        generators: States of the loader's generators when the epoch began.
        weighting: The strategy, or None.
    """
    return {
        "batch": number,
        "sums": list(sums),
        "generators": dict(generators),
        "weighting": {} if weighting is None else weighting.in_epoch(),
    }
