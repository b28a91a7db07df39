"""How one function of RecBole is replaced."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def override(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace ``name`` of a class or module by a function that gets the old one first."""
    original = getattr(owner, name)

    def install(replacement: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            return replacement(original, *args, **kwargs)

        setattr(owner, name, method)
        return method

    return install
