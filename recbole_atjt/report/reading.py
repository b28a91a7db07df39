"""A result.json, of this version or an older one, read back and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_atjt.errors import UsageError


@dataclass(frozen=True)
class _Named:
    """A mapping of known names; unknown ones are let through."""

    required: Mapping[str, Any]
    optional: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _OrNull:
    shape: Any


_NUMBERS = {str: float}
_WEIGHTS = _Named(
    {},
    {
        "epochs": [_NUMBERS],
        "begun": int,
        "true_positive": _NUMBERS,
        "false_positive": _NUMBERS,
        "auroc": float,
        "noise_auroc": float,
        "noise_bins": _Named({name: [float] for name in ("from", "to", "clean", "noisy")}),
        "noise_items": [_Named({"item": str, "title": str, "share": float})],
    },
)
_RUN = _Named(
    {
        "model": str,
        "dataset": str,
        "weighting": str,
        "seed": int,
        "valid": _NUMBERS,
        "test": _NUMBERS,
        "best_epoch": int,
        "epochs": int,
        "seconds": _NUMBERS,
        "parameters": {str: int},
        "weights": _OrNull(_WEIGHTS),
        "warnings": [str],
        "checkpoint": str,
        "versions": {str: str},
        "config": {str: object},
    },
    {"gate": _OrNull(_NUMBERS), "progress": [_NUMBERS]},
)
_FORMS = {str: "text", int: "a whole number", float: "a number or null"}


def read_json(path: Path) -> Any:
    """Read a file that a training leaves in its folder.

    Raises:
        UsageError: There is no such file, or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}; give the output_dir of a training"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: it is no JSON ({error})") from error


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Read the runs of a result.json.

    Returns:
        At least one, as mappings; null in place of a number is NaN, and what an older version did
        not note is left out.

    Raises:
        UsageError: There is no such file, or it is damaged; says where.
    """
    content = read_json(path)
    try:
        runs: list[dict[str, Any]] = _checked(content, _Named({"runs": [_RUN]}), "")["runs"]
    except _Damaged as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if not runs:
        raise UsageError(f"{path} holds no run: nothing was finished")
    return runs


class _Damaged(Exception):
    """A value has not the form that it should have."""


def _checked(value: Any, shape: Any, where: str) -> Any:
    """Return a value that has a shape, with NaN for null where a number belongs."""
    if isinstance(shape, _OrNull):
        return None if value is None else _checked(value, shape.shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _Damaged(f"{where} is no list")
        return [_checked(each, shape[0], f"{where}[{i}]") for i, each in enumerate(value)]
    if isinstance(shape, (dict, _Named)):
        if not isinstance(value, dict):
            raise _Damaged(f"{where or 'it'} is no mapping")
        return _mapping(value, shape, where)
    return value if shape is object else _scalar(value, shape, where)


def _mapping(value: dict[str, Any], shape: Any, where: str) -> dict[str, Any]:
    if isinstance(shape, dict):
        return {
            name: _checked(each, shape[str], f"{where}.{name}".lstrip("."))
            for name, each in value.items()
        }
    missing = [name for name in shape.required if name not in value]
    if missing:
        raise _Damaged(f"{where or 'it'} has no '{missing[0]}'")
    known = {**shape.optional, **shape.required}
    return {
        name: _checked(each, known[name], f"{where}.{name}".lstrip(".")) if name in known else each
        for name, each in value.items()
    }


def _scalar(value: Any, kind: type, where: str) -> Any:
    if kind is float and value is None:
        return math.nan
    kinds: Any = (int, float) if kind is float else kind
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _Damaged(f"{where} is {str(value)[:40]!r}, not {_FORMS[kind]}")
    if kind is not float:
        return value
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan
