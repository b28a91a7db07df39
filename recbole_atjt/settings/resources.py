"""Where the files that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

from recbole_atjt.errors import UsageError


def properties_path() -> Path:
    """Return the folder of the default settings: ``overall.yaml`` and one folder for each kind.

    An installed package carries it inside. A source checkout keeps it beside the package, and so
    does an editable installation.

    Raises:
        UsageError: If neither is there, so the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "properties", package.parent / "properties")
    for candidate in candidates:
        if (candidate / "overall.yaml").is_file():
            return candidate
    raise UsageError(f"no overall.yaml in {candidates[0]}: install the package again")
