"""The version of this package, and of what it runs with."""

from __future__ import annotations

import platform
from importlib.metadata import version

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on, by name."""
    names = ("recbole", "torch", "numpy", "pandas", "scipy")
    found = {"recbole_atjt": __version__, "python": platform.python_version()}
    return {**found, **{name: version(name) for name in names}}
