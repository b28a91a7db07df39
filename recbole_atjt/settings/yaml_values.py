"""YAML files and values from the command line, never evaluated as code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recbole_atjt.errors import UsageError, in_one_line

#: Levels of nesting that any setting may have.
_DEEPEST = 50


def load_yaml(path: Path, loader: Any = yaml.SafeLoader) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines; a file of comments only is empty.

    Raises:
        UsageError: The file is missing, is no YAML, or holds something else than keys.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except OSError as error:
        raise UsageError(f"config file {path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        raise UsageError(f"config file {path} is not valid YAML: {in_one_line(error)}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError(f"config file {path} holds no 'key: value' lines")
    for key, value in loaded.items():
        if not isinstance(key, str):
            raise UsageError(f"config file {path}: key {key!r} is no name; a key is a word")
        _refuse_circles(key, value)
    return loaded


def parse_value(value: Any, loader: Any = yaml.SafeLoader) -> Any:
    """Parse a string as a YAML value; it is never evaluated as code."""
    if not isinstance(value, str):
        return value
    try:
        parsed = yaml.load(value, Loader=loader)
    except (yaml.YAMLError, ValueError, TypeError):
        return value
    except RecursionError as error:
        raise UsageError(f"a value is nested too deeply: {value[:20]}...") from error
    _refuse_circles(value, parsed)
    return parsed if isinstance(parsed, (str, int, float, bool, list, dict, type(None))) else value


def require_whole(key: str, value: Any, least: int = 1) -> int:
    """Return a value that is a whole number of at least ``least``.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{key}={value} is not a whole number of at least {least}")
    return value


def require_switch(key: str, value: Any) -> bool:
    """Return a value that is True or False.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{key}={value} is neither True nor False")
    return value


def _refuse_circles(named: str, value: Any, above: tuple[int, ...] = ()) -> None:
    """Refuse what an anchor puts into itself, and so deep a nesting that it might as well."""
    if not isinstance(value, (dict, list)):
        return
    if id(value) in above or len(above) > _DEEPEST:
        raise UsageError(f"{named} holds itself, or is nested too deeply: write it without anchors")
    for item in value.values() if isinstance(value, dict) else value:
        _refuse_circles(named, item, (*above, id(value)))
