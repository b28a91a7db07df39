"""Every key of this package and of its strategies, explained."""

from __future__ import annotations

from functools import cache
from inspect import getdoc

from recbole_atjt.settings.explained import Explained, declared_keys, package_keys
from recbole_atjt.weighting.table import PLAIN, STRATEGIES, find_strategy, settings_of


@cache
def explained_keys() -> tuple[Explained, ...]:
    """Return the package's keys, then those of its strategies, each once."""
    strategies = [strategy for strategy in STRATEGIES.values() if strategy is not None]
    of_strategies = [item for each in strategies for item in declared_keys(settings_of(each))]
    return tuple({item.key: item for item in (*package_keys(), *of_strategies)}.values())


def summary_of(name: str) -> str:
    """Return the first sentence of a strategy's class, or what the table says of one without.

    Raises:
        UsageError: No strategy has the name.
    """
    strategy = find_strategy(name)
    text = PLAIN[name] if strategy is None else (getdoc(strategy) or "").split("\n\n")[0]
    return " ".join(text.replace("``", "`").split())
