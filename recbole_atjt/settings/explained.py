"""Keys explained: what classes and property files say of them, for help and documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import yaml

from recbole_atjt.settings.declared import DeclaredSettings, Key, kind_of
from recbole_atjt.settings.resources import properties_path

_LINE = re.compile(r"^(?P<key>\w+):.*?#\s*\((?P<kind>[^)]*)\)\s*(?P<text>.*)$")
_KINDS = {"tuple[int, ...]": "list of int", "float | str": "float or str"}


@dataclass(frozen=True)
class Explained:
    """A key of ours: default, type, one sentence, and which values it may have, if that is said."""

    key: str
    default: Any
    kind: str
    text: str
    values: str = ""


def declared_keys(declared: type[DeclaredSettings]) -> tuple[Explained, ...]:
    """Return the keys that a class declares, explained."""
    found = []
    defaults = declared().own
    for item in fields(declared):
        kind, default = kind_of(item.type), defaults[item.name]
        default = list(default) if isinstance(default, tuple) else default
        said = item.metadata.get("key", Key(""))
        values = said.allowed(kind)
        found.append(Explained(item.name, default, _KINDS.get(kind, kind), said.text, values))
    return tuple(found)


@cache
def package_keys() -> tuple[Explained, ...]:
    """Return the keys that are of no strategy and no model, from ``properties/overall.yaml``."""
    return explained_in((properties_path() / "overall.yaml").read_text(encoding="utf-8"))


def explained_in(text: str) -> tuple[Explained, ...]:
    """Return the keys that a property file's text explains in a comment behind their value."""
    defaults = yaml.safe_load(text) or {}
    matches = filter(None, map(_LINE.match, text.splitlines()))
    return tuple(Explained(m["key"], defaults[m["key"]], m["kind"], m["text"]) for m in matches)
