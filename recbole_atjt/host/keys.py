"""Which config keys RecBole knows, and which a source reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import recbole
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

_KEY_READ = re.compile(r"""config\[\s*['"](\w+)['"]\s*\]|config\.(?:get\(['"])?(\w+)""")


@cache
def recbole_keys() -> frozenset[str]:
    """Return every key that RecBole's property files hold or its sources read."""
    keys = {*dataset_arguments, *evaluation_arguments, *general_arguments, *training_arguments}
    for text in _texts("properties", "*.yaml").values():
        keys.update(re.findall(r"^(\w+):", text, re.MULTILINE))
    for text in _texts(".", "*.py").values():
        keys.update(keys_read(text))
    return frozenset(keys)


def readers_of(key: str) -> list[str]:
    """Return the files of RecBole that read a key, as paths below its package."""
    return [path for path, text in _texts(".", "*.py").items() if key in keys_read(text)]


def defaults_of(key: str) -> dict[str, str]:
    """Return what RecBole's property files set a key to: path below its package -> text."""
    line = re.compile(rf"^{re.escape(key)}:[ \t]*([^#\n]*)", re.MULTILINE)
    found = {}
    for path, text in _texts("properties", "*.yaml").items():
        match = line.search(text)
        if match and "quick_start_config" not in path:
            found[path] = match[1].strip()
    return found


@cache
def _texts(folder: str, pattern: str) -> dict[str, str]:
    """Return the texts of RecBole's files, by their paths below its package."""
    root = Path(recbole.__file__).parent
    return {
        str(path.relative_to(root.parent)): path.read_text(encoding="utf-8")
        for path in sorted((root / folder).rglob(pattern))
    }


def keys_read(source: str) -> Iterable[str]:
    """Yield the config keys that a source reads by name."""
    return (first or second for first, second in _KEY_READ.findall(source))
