"""The lists that a bench's file varies, what a call restricts them to, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole_atjt.bench.cells import NOTHING
from recbole_atjt.bench.strategies import Strategy, read_strategy
from recbole_atjt.errors import UsageError, nearest

#: What is varied, in the order of the table.
LISTS = ("models", "datasets", "plants", "strategies", "seeds")
#: For each list, the names that a rule of ``skip`` has of it.
Rule = Mapping[str, frozenset[str]]


def listed(value: Any) -> list[Any]:
    """Return one entry, a list of entries or nothing as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def name_of(entry: Any) -> str:
    """Return what an entry of a list is called."""
    return entry.label if isinstance(entry, Strategy) else NOTHING if entry is None else str(entry)


def unknown(where: str, given: Iterable[Any], known: Sequence[str]) -> list[str]:
    """Return a line for each name that is none of the known ones."""
    return [
        f"{where}'{name}' is unknown{nearest(name, known)}: there are {', '.join(known)}"
        for name in map(name_of, given)
        if name not in known
    ]


def read_list(given: Mapping[str, Any], key: str, problems: list[str]) -> list[Any]:
    """Return the entries of one of :data:`LISTS`; note what is wrong with them."""
    found = listed(given.get(key, [None] if key == "plants" else None))
    if key == "strategies":
        strategies = []
        for entry in found:
            try:
                strategies.append(read_strategy(entry))
            except UsageError as error:
                problems.append(str(error))
        found = strategies
    elif key == "seeds":
        problems += [
            f"seeds: {seed} is not a whole number of at least 0"
            for seed in found
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0
        ]
    else:
        found = [name_of(entry) for entry in found]
    names = [name_of(entry) for entry in found]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [f"{key}: '{name}' is listed twice" for name in twice]
    return found


def restrict(
    key: str, entries: Sequence[Any], only: Sequence[Any] | None, problems: list[str]
) -> list[Any]:
    """Return the entries that a call restricts a list to; all of them without a restriction."""
    if only is None:
        return list(entries)
    problems += unknown(f"--{key}: ", only, [name_of(entry) for entry in entries])
    wanted = {name_of(name) for name in only}
    return [entry for entry in entries if name_of(entry) in wanted]


def read_rules(value: Any, lists: Mapping[str, Sequence[Any]], problems: list[str]) -> list[Rule]:
    """Return the rules of ``skip``; note what is wrong with them.

    Args:
        value: A mapping of lists to entries, or a list of such mappings.
        lists: The unrestricted lists.
        problems: Takes what is wrong.
    """
    rules: list[Rule] = []
    for rule in listed(value):
        if not isinstance(rule, Mapping) or not rule:
            problems.append(f"skip: {rule} is not of the form {{plants: X, seeds: [1, 2]}}")
            continue
        problems += unknown("skip: key ", rule, LISTS)
        found = {key: frozenset(map(name_of, listed(rule[key]))) for key in LISTS if key in rule}
        for key in LISTS:
            known = [name_of(entry) for entry in lists[key]]
            problems += unknown(f"skip: {key}: ", sorted(found.get(key, ())), known)
        rules.append(found)
    return rules


def is_left_out(entries: Mapping[str, Any], rules: Sequence[Rule]) -> bool:
    """Tell whether a rule holds for a combination, which has an entry of each list."""
    return any(all(name_of(entries[key]) in rule[key] for key in rule) for rule in rules)
