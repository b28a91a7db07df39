"""Clean evaluation: validation and test without interactions that the data knows to be noise.

Noisy interactions stay in training and in histories, as the implicit feedback that they are
(AutoDenoise, 5.1); only as targets of validation and test they are dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from logging import getLogger
from operator import and_, or_
from typing import Any

import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_atjt.data.files import require_named_columns
from recbole_atjt.errors import UsageError

NOISE_FIELD = "is_noise"
"""Column of ground truth: 0 where the interaction is a true positive."""

_INTERVAL = re.compile(r"\s*([(\[])\s*([^\s,]+)\s*,\s*([^\s,]+)\s*([)\]])\s*")


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``; ``closed`` says whether each end belongs to it."""

    low: float
    high: float
    closed: tuple[bool, bool] = (True, True)

    def holds(self, values: Tensor) -> Tensor:
        """Tell which values lie inside, ``[n]``; NaN does not."""
        above = values >= self.low if self.closed[0] else values > self.low
        return above & (values <= self.high if self.closed[1] else values < self.high)

    def scaled(self, low: float, high: float) -> Interval:
        """Return the same interval of values that were scaled from ``low .. high`` to 0 .. 1.

        Computed as RecBole scales values, so that a value on an end stays on it. A column of one
        value only becomes 1.
        """
        if low == high:
            inside = bool(self.holds(torch.tensor([low], dtype=torch.float64)))
            return Interval(0, 1) if inside else Interval(2, 2)
        span = high - low
        return Interval((self.low - low) / span, (self.high - low) / span, self.closed)


@dataclass(frozen=True)
class Truth:
    """Which interactions are true positives: those whose columns all lie in their intervals.

    Args:
        columns: Name of each column and the intervals of which its value must be in one.
    """

    columns: Mapping[str, tuple[Interval, ...]]

    @classmethod
    def of(cls, config: Any, dataset: Any = None) -> Truth:
        """Read it from ``clean_eval``; without that key it is 0 in column ``is_noise``.

        Args:
            config: RecBole's configuration.
            dataset: The dataset of the rows; intervals are of the file's values, and are scaled as
                its columns were where RecBole normalised them.

        Raises:
            UsageError: ``clean_eval`` is no mapping of columns to intervals.
        """
        columns = read_intervals(config["clean_eval"]) or {NOISE_FIELD: (Interval(0, 0),)}
        scaled = getattr(dataset, "normalized_ranges", {})
        return cls(
            {
                name: tuple(interval.scaled(*scaled[name]) for interval in intervals)
                if name in scaled
                else intervals
                for name, intervals in columns.items()
            }
        )

    def holds(self, interaction: Any) -> Tensor | None:
        """Tell which rows are true positives, ``[n]``; None where the data does not know.

        Args:
            interaction: Rows with columns: a batch, or the interactions of a dataset.
        """
        for name in self.columns:
            if name not in interaction or not interaction[name].is_floating_point():
                return None
        return reduce(
            and_,
            (
                reduce(or_, (interval.holds(interaction[name]) for interval in intervals))
                for name, intervals in self.columns.items()
            ),
        )


def read_intervals(value: Any) -> dict[str, tuple[Interval, ...]]:
    """Parse ``clean_eval``: for each column, intervals as RecBole's ``val_interval`` has them.

    Args:
        value: Such as ``{"rating": "[3,inf)", "hour": "[0,6);(20,24]"}``; None is nothing.

    Raises:
        UsageError: It is no mapping, or one of its values no interval.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f'clean_eval={value} is not of the form {{rating: "[3,inf)"}}, quoted')
    return {
        str(name): tuple(_parse(name, text) for text in str(given).split(";"))
        for name, given in value.items()
    }


def _parse(name: str, text: str) -> Interval:
    match = _INTERVAL.fullmatch(text)
    try:
        low, high = map(float, match.group(2, 3) if match else ())
    except ValueError:
        low = high = math.nan
    if match is None or math.isnan(low) or math.isnan(high):
        raise UsageError(f'clean_eval: {name}={text} is not an interval, such as "[3,inf)"')
    closed = match[1] == "[", match[4] == "]"
    if low > high or (low == high and not all(closed)):
        raise UsageError(f"clean_eval: no number is in {name}={text}")
    return Interval(low, high, closed)


def require_clean_columns(config: Any) -> None:
    """Check that the columns of ``clean_eval`` will be loaded.

    Raises:
        UsageError: One is not in the interactions' file, or ``load_col`` leaves it out.
    """
    names = read_intervals(config["clean_eval"])
    require_named_columns(config, [("a column of clean_eval", name) for name in names])


def drop_false_positives(config: Any, parts: Sequence[Any]) -> list[Any]:
    """Drop the rows of validation and test whose target is no true positive by ``clean_eval``.

    Args:
        config: RecBole's configuration.
        parts: The training, validation and test dataset; they are not changed.

    Returns:
        The same training dataset, and the other two with the remaining rows, in their order.

    Raises:
        UsageError: A column is missing or no number, or validation or test has no row left.
    """
    columns = read_intervals(config["clean_eval"])
    if not columns:
        return list(parts)
    _require_numbers(columns, parts[0])
    cleaned, emptied = [parts[0]], []
    for phase, part in zip(("valid", "test"), parts[1:]):
        keep = Truth.of(config, part).holds(part.inter_feat)
        assert keep is not None
        rows = keep.nonzero().squeeze(1)
        cleaned.append(part.copy(part.inter_feat[rows]))
        getLogger().info(f"clean_eval keeps {len(rows)} of {len(keep)} interactions for {phase}")
        if len(keep) and not len(rows):
            emptied.append((phase, part))
    if emptied:
        phases = " and ".join(phase for phase, _ in emptied)
        ranges = ", ".join(f"{name} lies in {_range(emptied, name)}" for name in columns)
        raise UsageError(
            f"clean_eval={config['clean_eval']} leaves nothing for {phases} of dataset "
            f"'{config['dataset']}', where {ranges}"
        )
    return cleaned


def _require_numbers(columns: Mapping[str, Any], part: Any) -> None:
    for name in columns:
        if name not in part.inter_feat:
            raise UsageError(
                f"clean_eval: column '{name}' is not in the interactions any more, since threshold "
                "or unused_col takes it out"
            )
        kind = part.field2type[name]
        if kind != FeatureType.FLOAT:
            raise UsageError(
                f"clean_eval: column '{name}' is of type {kind.value}, and an interval needs one "
                f"of numbers, {name}:float in the header"
            )


def _range(emptied: Sequence[tuple[str, Any]], name: str) -> str:
    values = [part.inter_feat[name] for _, part in emptied]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    first, last = getattr(emptied[0][1], "normalized_ranges", {}).get(name, (0.0, 1.0))
    low, high = (first + value * (last - first) for value in (low, high))
    return f"[{low:g},{high:g}]"
