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
    root = Path(recbole.__file__).parent
    keys = {*dataset_arguments, *evaluation_arguments, *general_arguments, *training_arguments}
    for path in (root / "properties").rglob("*.yaml"):
        keys.update(re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in root.rglob("*.py"):
        keys.update(keys_read(path.read_text(encoding="utf-8")))
    return frozenset(keys)


def readers_of(key: str) -> list[str]:
    """Return the files of RecBole that read a key, as paths below its package."""
    root = Path(recbole.__file__).parent
    return [
        str(path.relative_to(root.parent))
        for path in sorted(root.rglob("*.py"))
        if key in keys_read(path.read_text(encoding="utf-8"))
    ]


def defaults_of(key: str) -> dict[str, str]:
    """Return what RecBole's property files set a key to: path below its package -> text."""
    root = Path(recbole.__file__).parent
    line = re.compile(rf"^{re.escape(key)}:[ \t]*([^#\n]*)", re.MULTILINE)
    found = {}
    for path in sorted((root / "properties").rglob("*.yaml")):
        match = line.search(path.read_text(encoding="utf-8"))
        if match and "quick_start_config" not in path.parts:
            found[str(path.relative_to(root.parent))] = match[1].strip()
    return found


def keys_read(source: str) -> Iterable[str]:
    """Yield the config keys that a source reads by name."""
    return (first or second for first, second in _KEY_READ.findall(source))
