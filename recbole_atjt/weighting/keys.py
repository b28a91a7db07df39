"""Every key of this package and of its strategies, explained."""

from __future__ import annotations

from functools import cache
from inspect import getdoc

from recbole_atjt.settings.explained import Explained, package_keys
from recbole_atjt.weighting.table import PLAIN, find_strategy, own_keys


@cache
def explained_keys() -> tuple[Explained, ...]:
    """Return the package's keys, then those of its strategies, each once."""
    of_strategies = [item for keys in own_keys().values() for item in keys]
    return tuple({item.key: item for item in (*package_keys(), *of_strategies)}.values())


def summary_of(name: str) -> str:
    """Return the first sentence of a strategy's class, or what the table says of one without.

    Raises:
        UsageError: No strategy has the name.
    """
    strategy = find_strategy(name)
    text = PLAIN[name] if strategy is None else (getdoc(strategy) or "").split("\n\n")[0]
    return " ".join(text.replace("``", "`").split())
