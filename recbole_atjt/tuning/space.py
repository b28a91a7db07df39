"""A search space: which values each key may have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Union

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.resources import properties_path
from recbole_atjt.settings.yaml_values import load_yaml

FOLDER = "search"
"""Folder below the default settings of the spaces that ship with the package."""
_OF_A_RANGE = ("low", "high", "log", "step")
#: What a study does not vary: it compares settings on one task.
_NOT_VARIED = (
    "model",
    "dataset",
    "seed",
    "metrics",
    "topk",
    "valid_metric",
    "eval_args",
    "clean_eval",
    "revised_validation",
    "plant",
    "plant_seed",
)


@dataclass(frozen=True)
class Choice:
    """One of some values; lists and mappings are kept as JSON text, which is all a study stores."""

    values: tuple[Any, ...]

    @property
    def stored(self) -> list[Any]:
        """The values as a study stores them."""
        return [stored(value) for value in self.values]

    def suggest(self, trial: Any, key: str) -> Any:
        """Let a trial choose."""
        return self.from_study(trial.suggest_categorical(key, self.stored))

    def to_study(self, value: Any) -> Any:
        """Return a value as a study stores it."""
        return stored(value)

    def from_study(self, value: Any) -> Any:
        """Return the value that a study stores so."""
        return self.values[self.stored.index(value)]

    def holds(self, value: Any) -> bool:
        """Tell whether it has a value."""
        return stored(value) in self.stored

    def ends(self) -> tuple[Any, ...]:
        """Return values that show whether all of them can be had."""
        return self.values


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both included; ``log`` draws their logarithm evenly."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has whole numbers only."""
        given = (self.low, self.high, *([] if self.step is None else [self.step]))
        return all(isinstance(number, int) for number in given)

    def suggest(self, trial: Any, key: str) -> Any:
        """Let a trial choose."""
        if self.is_whole:
            step = 1 if self.step is None else self.step
            return trial.suggest_int(key, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    def to_study(self, value: Any) -> Any:
        """Return a number as a study stores it: as it is."""
        return value

    def from_study(self, value: Any) -> Any:
        """Return the number that a study stores so."""
        return value

    def holds(self, value: Any) -> bool:
        """Tell whether it has a value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.is_whole and not float(value).is_integer():
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9

    def ends(self) -> tuple[Any, ...]:
        """Return values that show whether all of them can be had."""
        return self.low, self.high


Space = Mapping[str, Union[Choice, Range]]


def shipped() -> list[str]:
    """Return the names of the spaces that ship with the package."""
    return [path.stem for path in sorted((properties_path() / FOLDER).glob("*.yaml"))]


def read_space(given: Any) -> dict[str, Choice | Range]:
    """Read a search space.

    Args:
        given: A mapping from keys to lists of values or ``{low: , high: [, log: true][, step: ]}``;
            the name of a space that ships with the package; or a list of both, later ones win.

    Raises:
        UsageError: It has none of these forms.
    """
    parts = given if isinstance(given, list) else [given]
    found: dict[str, Choice | Range] = {}
    for part in parts:
        for key, values in _named(part).items():
            found[str(key)] = _read(str(key), values)
    if not found:
        raise UsageError("search is empty: name keys and their values")
    for key in found:
        if key in _NOT_VARIED:
            raise UsageError(f"search: {key} is the same in all trials: write it beside search")
    return found


def _named(part: Any) -> Mapping[str, Any]:
    if isinstance(part, str):
        if part not in shipped():
            hint = nearest(part, shipped())
            raise UsageError(f"search: {part} is unknown{hint}: use {', '.join(shipped())}")
        return load_yaml(properties_path() / FOLDER / f"{part}.yaml")
    if not isinstance(part, Mapping):
        raise UsageError(f"search: {part} is neither {{KEY: VALUES}} nor a name")
    return part


def _read(key: str, values: Any) -> Choice | Range:
    if isinstance(values, Sequence) and not isinstance(values, str):
        if not values:
            raise UsageError(f"search: {key} has no values")
        kept = [stored(value) for value in values]
        twice = next((value for n, value in enumerate(kept) if value in kept[:n]), None)
        if twice is not None:
            raise UsageError(f"search: {key}: {twice} stands there twice")
        return Choice(tuple(values))
    if not isinstance(values, Mapping) or not {"low", "high"} <= set(values):
        raise UsageError(
            f"search: {key}: {values} is neither a list of values nor {{low: 1, high: 9}}"
        )
    for word in values:
        if word not in _OF_A_RANGE:
            hint = nearest(str(word), _OF_A_RANGE)
            raise UsageError(f"search: {key}: '{word}' is unknown{hint}")
    words = [word for word in ("low", "high", "step") if word in values]
    numbers = {word: _number(key, word, values[word]) for word in words}
    log = values.get("log", False)
    if not isinstance(log, bool):
        raise UsageError(f"search: {key}: log={log} is neither true nor false")
    found = Range(numbers["low"], numbers["high"], log, numbers.get("step"))
    if not found.low < found.high:
        raise UsageError(f"search: {key}: low={found.low} is not below high={found.high}")
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise UsageError(f"search: {key}: step={found.step} does not fit between low and high")
    if log and found.step is not None:
        raise UsageError(f"search: {key}: log and step do not go together")
    if log and found.low <= 0:
        raise UsageError(f"search: {key}: low={found.low} has no logarithm: it must be above 0")
    return found


def _number(key: str, word: str, value: Any) -> float:
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"search: {key}: {word}={value} is not a number")
    return value


def stored(value: Any) -> Any:
    """Return a value as a study stores it: lists and mappings as JSON."""
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else json.dumps(value, sort_keys=True)
