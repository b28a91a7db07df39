"""``strategies``: what ``weighting`` may be."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_atjt.commands.layout import described, terminal_width, wrapped
from recbole_atjt.settings.arguments import read_arguments

USAGE = """\
usage: recbole-atjt strategies

List the strategies that --weighting may name, those of other installed packages included.
--help=NAME tells the settings of one.
"""


def usage() -> str:
    """Return what ``strategies --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Print the list."""
    read_arguments("strategies", arguments, ())
    from recbole_atjt.errors import UsageError
    from recbole_atjt.weighting.keys import summary_of
    from recbole_atjt.weighting.table import strategy_names

    width = terminal_width()
    rows = []
    for name in strategy_names():
        try:
            rows.append((name, summary_of(name)))
        except UsageError as error:  # of another package
            rows.append((name, str(error)))
    print(described(rows, width), end="\n\n")
    print(wrapped("--help=NAME tells the settings of one, docs/strategies.md its rule.", width))
    return 0
