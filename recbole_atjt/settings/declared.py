"""Settings that a class declares: each key with its type, default, bounds and one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial
from typing import Any, TypeVar

from recbole_atjt.errors import UsageError, nearest

_KINDS: dict[str, type[Any]] = {"int": int, "float": float, "bool": bool, "str": str}
_NAMED = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a name"}
_LIST = "tuple[int, ...]"


@dataclass(frozen=True)
class Bounds:
    """The numbers of an interval; written as in ``[0, 1)`` or ``(0, inf)``."""

    text: str

    def hold(self, value: float) -> bool:
        """Tell whether ``value`` lies inside; infinity and NaN never do."""
        low, high = (float(end) for end in self.text[1:-1].split(","))
        above = value >= low if self.text[0] == "[" else value > low
        return (
            math.isfinite(value)
            and above
            and (value <= high if self.text[-1] == "]" else value < high)
        )

    def explain(self, kind: str) -> str:
        """Say which numbers are inside."""
        low, high = (end.strip() for end in self.text[1:-1].split(","))
        if high != "inf":
            return f"from {low} to {high}" if kind == "int" else f"inside {self.text}"
        if self.text[0] == "(":
            return f"above {low}"
        return f"at least {low} and finite" if kind == "float" else f"at least {low}"


@dataclass(frozen=True)
class Key:
    """What a class says of one of its keys.

    Args:
        text: One sentence.
        within: Numbers that it may be; of a list, each of its entries.
        choices: Names that it may be; a number beside them where its type is ``float | str``.
        length: Number of entries of a list; None for any.
    """

    text: str
    within: Bounds | None = None
    choices: tuple[str, ...] = ()
    length: int | None = None

    def allowed(self, kind: str) -> str:
        """Say which values a key of a type may have; empty where any of the type."""
        names = [", ".join(self.choices)] if self.choices else []
        number = "int" if kind in ("int", _LIST) else "float"
        said = [f"a number {self.within.explain(number)}"] if self.within else []
        if kind == _LIST:
            return f"whole numbers, each {said[0][len('a number ') :]}" if said else "whole numbers"
        if kind == "bool":
            return "True, False"
        return ", or ".join(names + said)


def key(
    default: Any,
    text: str,
    *,
    within: str | None = None,
    choices: tuple[str, ...] = (),
    length: int | None = None,
) -> Any:
    """Declare a key in a subclass of :class:`DeclaredSettings`.

    Args:
        default: Its default, of the type that the class annotates: int, float, bool, str,
            ``tuple[int, ...]``, or ``float | str`` for a number or one of ``choices``.
        text: One sentence that says what it is.
        within: Interval of the numbers that it may be, such as ``"[0, 1)"``.
        choices: Names that it may be.
        length: Number of entries of a list.
    """
    bounds = None if within is None else Bounds(within)
    return field(default=default, metadata={"key": Key(text, bounds, choices, length)})


@dataclass(frozen=True)
class DeclaredSettings:
    """Base of classes that declare settings; field names are the config keys.

    Whoever declares a key says everything about it in one place: config files, ``--help`` and the
    tables of the documentation are made from these classes. Values are checked when it is built.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """

    def __post_init__(self) -> None:
        for item in fields(self):
            declared = item.metadata.get("key")
            if declared is not None:
                value = _checked(item.name, kind_of(item.type), declared, getattr(self, item.name))
                object.__setattr__(self, item.name, value)

    @property
    def own(self) -> Mapping[str, Any]:
        """All keys by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


Declared = TypeVar("Declared", bound=DeclaredSettings)


def read_settings(declared: type[Declared], config: Any) -> Declared:
    """Read settings from a config; keys that it lacks take their declared defaults.

    Args:
        declared: The class that declares them.
        config: ``recbole.config.Config`` or any mapping with ``[]`` and ``in``.

    Raises:
        UsageError: A value of the wrong type or out of range.
    """
    names = [item.name for item in fields(declared)]
    return declared(**{name: config[name] for name in names if name in config})


def declare(name: str, defaults: Mapping[str, Any]) -> type[DeclaredSettings]:
    """Make a class of settings from keys with defaults alone.

    A key whose default is a number, a bool or a name is checked against its type; others are handed
    on as they are.

    Args:
        name: Name of the class.
        defaults: Keys and defaults.
    """
    declared = [
        (
            each,
            kind,
            key(default, "") if kind in _KINDS else field(default_factory=partial(copy, default)),
        )
        for each, default in defaults.items()
        for kind in [type(default).__name__]
    ]
    return make_dataclass(name, declared, bases=(DeclaredSettings,), frozen=True)


def declared_by(owner: type) -> type[DeclaredSettings] | None:
    """Return the settings that a class declares, in ``settings_class`` or ``own_keys``, if any."""
    declared: type[DeclaredSettings] | None = getattr(owner, "settings_class", None)
    own = getattr(owner, "own_keys", None)
    if declared is None and isinstance(own, Mapping) and own:
        return declare(f"{owner.__name__}Settings", own)
    return declared


def kind_of(annotation: Any) -> str:
    """Return the name of a field's type, whether the annotation is a string or a type."""
    return (
        annotation
        if isinstance(annotation, str)
        else getattr(annotation, "__name__", str(annotation))
    )


def _checked(name: str, kind: str, declared: Key, value: Any) -> Any:
    """Return a value in its type: whole numbers serve as floats, lists as tuples."""
    if kind == _LIST:
        return _checked_list(name, declared, value)
    value = "none" if kind == "str" and value is None else value
    kinds = [part.strip() for part in kind.split("|")]
    found = next((each for each in kinds if _is(value, each)), None)
    if found is None:
        raise UsageError(f"{name}={value} is not {' or '.join(_NAMED[each] for each in kinds)}")
    if found == "float":
        value = float(value)
    if found == "str" and declared.choices and value not in declared.choices:
        hint = nearest(value, declared.choices)
        more = " or a number" if "float" in kinds else ""
        raise UsageError(
            f"{name}={value} is unknown{hint}: use one of {', '.join(declared.choices)}{more}"
        )
    if found in ("int", "float") and declared.within and not declared.within.hold(value):
        expected = declared.within.explain(found)
        raise UsageError(f"{name}={value} is out of range: it must be {expected}")
    return value


def _is(value: Any, kind: str) -> bool:
    if kind == "float" and isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def _checked_list(name: str, declared: Key, value: Any) -> tuple[int, ...]:
    entries = list(value) if isinstance(value, (list, tuple)) else [value]
    right = bool(entries) and all(_is(entry, "int") for entry in entries)
    right = right and len(entries) == (declared.length or len(entries))
    if right and declared.within:
        right = all(declared.within.hold(entry) for entry in entries)
    if not right:
        count = f"{declared.length} " if declared.length else ""
        bounds = f" of {declared.within.explain('int')}" if declared.within else ""
        given = entries if isinstance(value, (list, tuple)) else value
        example = "" if declared.length else ", such as [64, 32]"
        raise UsageError(f"{name}={given} must be {count}whole numbers{bounds}{example}")
    return tuple(entries)
