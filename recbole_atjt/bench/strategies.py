"""Entries of ``strategies`` in a bench's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.table import find_strategy

_OWN = ("name", "label", "tried")


@dataclass(frozen=True)
class Strategy:
    """A strategy as a bench runs it.

    Args:
        label: How the table calls it.
        weighting: Name of the strategy.
        settings: Its settings, which win over all others.
        tried: Number of configurations that were tried on validation before this one was chosen;
            None where the bench's own entries are all.
    """

    label: str
    weighting: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tried: int | None = None


def read_strategy(entry: Any) -> Strategy:
    """Read a name, or a mapping of ``name``, ``label``, ``tried`` and settings.

    Raises:
        UsageError: It has no known name, or ``tried`` is no number.
    """
    if not isinstance(entry, Mapping):
        entry = {"name": entry}
    name = "none" if entry.get("name", "") is None else str(entry.get("name", ""))
    if not name:
        raise UsageError(f"strategies: {dict(entry)} has no name: write {{name: NAME, KEY: VALUE}}")
    find_strategy(name)
    settings = {str(key): value for key, value in entry.items() if key not in _OWN}
    own = ", ".join(f"{key}={value}" for key, value in settings.items())
    tried = entry.get("tried")
    if tried is not None and (not isinstance(tried, int) or isinstance(tried, bool) or tried < 1):
        raise UsageError(f"strategies: tried={tried} of {name} is not a whole number of at least 1")
    return Strategy(
        str(entry.get("label", f"{name} ({own})" if own else name)), name, settings, tried
    )
