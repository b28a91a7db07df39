"""The fast tier of a parametrized test: a few of its values; the rest is marked slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def fast(values: Iterable[Any], among: Iterable[Any] | int = 1) -> list[Any]:
    """Return all values for ``parametrize``, those that are not among the fast ones marked slow.

    Args:
        values: Values of one argument, or tuples of several.
        among: The fast values, or how many of the first ones are.
    """
    values = list(values)
    chosen = values[:among] if isinstance(among, int) else list(among)
    assert all(value in values for value in chosen), "a fast value that there is not"
    return [value if value in chosen else _slow(value) for value in values]


def _slow(value: Any) -> Any:
    several = value if isinstance(value, tuple) else (value,)
    return pytest.param(*several, marks=pytest.mark.slow)
