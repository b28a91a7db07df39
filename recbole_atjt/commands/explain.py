"""``--help=NAME``: what a key, a strategy or a model is; and our keys by what they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_atjt.commands.layout import INDENT, described, terminal_width, wrapped
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.host.keys import defaults_of, keys_read, readers_of, recbole_keys
from recbole_atjt.host.ranges import allowed
from recbole_atjt.model.table import OWN, model_keys, registered_models, trained_models
from recbole_atjt.settings.declared import declared_by
from recbole_atjt.settings.explained import Explained, declared_keys, package_keys
from recbole_atjt.settings.resources import properties_path
from recbole_atjt.weighting.keys import explained_keys, summary_of
from recbole_atjt.weighting.table import (
    STRATEGIES,
    find_strategy,
    own_keys,
    strategy_keys,
    strategy_names,
)

#: Files of RecBole that are named as reading a key.
_READERS = 4
#: Models that are named as having a default of their own.
_NAMED = 3
_PACKAGE = Path(__file__).resolve().parents[1]


def grouped_keys(width: int) -> str:
    """Return the keys of ours by what they belong to, each once.

    Args:
        width: Characters of a line.
    """
    groups: dict[str, list[str]] = {}
    seen = set()
    for name, keys in [("every run", package_keys()), *_by_owner()]:
        own = [item.key for item in keys if item.key not in seen]
        seen.update(own)
        if own:
            groups[name] = own
    lines = [
        wrapped(f"{name}: {', '.join(own)}", width, INDENT, INDENT * 3)
        for name, own in groups.items()
    ]
    return "\n".join(lines)


def _by_owner() -> Iterable[tuple[str, tuple[Explained, ...]]]:
    yield from own_keys().items()
    for name, model in OWN.items():
        declared = declared_by(model)
        yield name, () if declared is None else declared_keys(declared)


def _keys_of(name: str) -> tuple[Explained, ...]:
    """Return a strategy's keys; none of one of another package that can't be used."""
    try:
        return strategy_keys(name)
    except UsageError:
        return ()


def explained(name: str) -> str:
    """Return what a name means: a key of ours or of RecBole's, a strategy, a model.

    Raises:
        UsageError: It is none of them; names the nearest.
    """
    width = terminal_width()
    ours = {item.key: item for item in (*explained_keys(), *model_keys())}
    if name in ours:
        return _of_ours(ours[name], width)
    if name in strategy_names():
        return _of_strategy(name, width)
    if name in registered_models():
        return _of_model(name, width)
    if name in recbole_keys():
        return _of_recbole(name, width)
    for strategy in set(strategy_names()) - set(STRATEGIES):
        for item in _keys_of(strategy):
            if item.key == name:
                return _of_ours(item, width)
    known = [*ours, *strategy_names(), *registered_models(), *recbole_keys()]
    raise UsageError(
        f"help={name} is no key, strategy or model{nearest(name, known)}; --help lists ours"
    )


def _of_ours(item: Explained, width: int) -> str:
    owners = [name for name in strategy_names() if item.key in _names(_keys_of(name))]
    owners += [n for n, keys in _by_owner() if n in OWN and item.key in _names(keys)]
    rows = [("default", str(item.default)), ("type", item.kind)]
    rows += [("values", item.values)] if item.values else []
    if item.key == "weighting":
        rows.append(("values", ", ".join(strategy_names())))
    rows.append(("of", ", ".join(owners) or "every run"))
    rows.append(("read in", _first(_declaring(item.key, owners))))
    elsewhere = _set_by_files(item.key)
    rows += [("set by", elsewhere)] if elsewhere else []
    return f"--{item.key}\n{wrapped(item.text, width, INDENT)}\n\n{described(rows, width)}"


def _names(keys: Iterable[Explained]) -> set[str]:
    return {item.key for item in keys}


def _declaring(key: str, owners: list[str]) -> list[str]:
    """Return the modules that declare a key, or read one that no class declares."""
    found = []
    for owner in owners:
        holder = OWN.get(owner) or find_strategy(owner)
        declared = None if holder is None else declared_by(holder)
        for base in reversed(declared.__mro__ if declared else ()):
            if key in getattr(base, "__annotations__", {}):
                found.append(base.__module__.replace(".", "/") + ".py")
                break
    if not owners:
        quoted = re.compile(rf"""["']{re.escape(key)}["']""")
        for path in sorted(_PACKAGE.rglob("*.py")):
            if quoted.search(path.read_text(encoding="utf-8")):
                found.append(str(path.relative_to(_PACKAGE.parent)))
    return list(dict.fromkeys(found))


def _of_strategy(name: str, width: int) -> str:
    keys = strategy_keys(name)
    lines = [f"--weighting={name}", wrapped(summary_of(name), width, INDENT)]
    lines += ["", "Its keys, and their defaults:" if keys else "It has no keys."]
    return "\n".join(lines) + ("\n" + _table(keys, width) if keys else "")


def _table(keys: Iterable[Explained], width: int) -> str:
    lines = []
    for item in keys:
        lines.append(f"{INDENT}--{item.key}={item.default}")
        lines.append(wrapped(item.text, width, INDENT * 3))
    return "\n".join(lines)


def _of_model(name: str, width: int) -> str:
    kind = next((kind for kind, names in trained_models().items() if name in names), "")
    what = f"a {kind} model" if kind else "a model that RecBole trains with a trainer of its own"
    model = registered_models()[name]
    rows = []
    for key in sorted(set(keys_read(_source(model)))):
        found = _values_for(key, name)
        if found:
            rows.append((key, found))
    text = f"--model={name}: {what}; {model.__module__}"
    declared = declared_by(model)
    if declared is not None:
        return f"{text}\n\nIts keys:\n{_table(declared_keys(declared), width)}"
    if not rows:
        return f"{text}\nIt has no keys of its own."
    return f"{text}\n\nKeys that it reads, and their defaults here:\n{described(rows, width)}"


def _source(model: type) -> str:
    import inspect

    return inspect.getsource(inspect.getmodule(model) or model)


def _values_for(key: str, model: str) -> str:
    """Return the default that a key has for a model: the last file that sets it wins."""
    recbole = defaults_of(key)
    ours = {path.stem: text for path, text in _ours_that_set(key).items()}
    for value in (ours.get(model), recbole.get(f"recbole/properties/model/{model}.yaml")):
        if value is not None:
            return value
    return recbole.get("recbole/properties/overall.yaml", "")


def _of_recbole(key: str, width: int) -> str:
    values: dict[str, list[str]] = {}
    for path, value in defaults_of(key).items():
        values.setdefault(value or "none", []).append(Path(path).stem)
    rows = [("default", _defaults(values))] if values else []
    rows += [("values", allowed(key))] if allowed(key) else []
    rows.append(("read in", _first(readers_of(key))))
    elsewhere = _set_by_files(key)
    rows += [("set by", elsewhere)] if elsewhere else []
    return f"--{key}\n{INDENT}A key of RecBole's.\n\n{described(rows, width)}"


def _first(readers: list[str]) -> str:
    more = f" and {len(readers) - _READERS} more" if len(readers) > _READERS else ""
    return ", ".join(readers[:_READERS]) + more if readers else "nowhere"


def _defaults(values: dict[str, list[str]]) -> str:
    parts = []
    for value, names in values.items():
        more = ", ..." if len(names) > _NAMED else ""
        where = f" ({', '.join(names[:_NAMED])}{more})"
        parts.append(value if "overall" in names else value + where)
    return "; ".join(parts)


def _ours_that_set(key: str) -> dict[Path, str]:
    """Return our property files that set a key, and to what."""
    return {path: str(values[key]) for path, values in _our_values().items() if key in values}


@cache
def _our_values() -> dict[Path, dict[str, Any]]:
    """Return our property files' values; strategies' are their classes', search spaces set none."""
    return {
        path: yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in sorted(properties_path().rglob("*.yaml"))
        if path.parent.name not in ("weighting", "search")
    }


def _set_by_files(key: str) -> str:
    root = properties_path()
    found = {
        str(path.relative_to(root)): value
        for path, value in _ours_that_set(key).items()
        if path.name != "overall.yaml" or key in recbole_keys()
    }
    return "; ".join(f"properties/{name}: {value}" for name, value in found.items())
