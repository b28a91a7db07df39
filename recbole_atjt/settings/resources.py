"""Where config files lie: those of the caller, and those that ship with the package."""

from __future__ import annotations

import shlex
from pathlib import Path

from recbole_atjt.errors import UsageError, nearest

PROTOCOLS = "protocols"
"""Folder below the default settings of the config files that ship with the package."""


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


def protocols() -> dict[str, Path]:
    """Return the config files that ship with the package, by their names."""
    return {path.stem: path for path in sorted((properties_path() / PROTOCOLS).glob("*.yaml"))}


def named_files(text: str) -> list[str]:
    """Return the config files that a command line names.

    Args:
        text: A file, several with spaces between them, or a YAML list. A name with a space stands
            in quotes, in a list, or alone.

    Raises:
        UsageError: A quote that is not closed.
    """
    from recbole_atjt.settings.yaml_values import parse_value

    if Path(text).is_file():
        return [text]
    listed = parse_value(text) if text.lstrip().startswith("[") else None
    if isinstance(listed, list):
        return [str(name) for name in listed]
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"config_files={text}: a quote is not closed") from error


def config_file(name: str | Path) -> Path:
    """Return the config file of a name: a file, or one that ships with the package.

    Args:
        name: A path; where there is no such file, the name of a protocol such as ``autodenoise``,
            or its path in the repository, ``properties/protocols/autodenoise.yaml``.

    Raises:
        UsageError: There is neither; names the nearest.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = protocols()
    if path.parts[:1] == ("properties",):
        inside = properties_path().joinpath(*path.parts[1:])
        if inside.is_file() and ".." not in path.parts:
            return inside
    if str(name) in shipped:
        return shipped[str(name)]
    hint = nearest(path.stem, shipped)
    raise UsageError(
        f"config file {name} can't be read: No such file or directory{hint}; the package ships "
        f"{', '.join(shipped)}"
    )
