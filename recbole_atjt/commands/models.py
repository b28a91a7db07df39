"""``models``: which models there are."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_atjt.commands.layout import in_columns, terminal_width, wrapped
from recbole_atjt.settings.arguments import read_arguments

USAGE = """\
usage: recbole-atjt models

List the models that can be trained here, by their kind: RecBole's and this package's own.
--help=NAME tells the settings of one.
"""

_HOW = {
    "sequential": "histories and the next item; all strategies",
    "context-aware": "features and labels; all strategies, histories are given to those that need "
    "them",
    "general": "users and items; strategies that need no histories",
    "closed form": "no steps to weigh; plain only",
}


def usage() -> str:
    """Return what ``models --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Print the list."""
    read_arguments("models", arguments, ())
    from recbole_atjt.model.table import own_models, trained_models

    width = terminal_width()
    for kind, names in trained_models().items():
        print(wrapped(f"{kind} ({len(names)}): {_HOW[kind]}", width))
        print(in_columns(names, width), end="\n\n")
    print(
        wrapped(
            f"{', '.join(own_models())} are this package's own. --model=module:Class names one of "
            "yours; --help=NAME tells the settings of one; docs/strategies.md tells which strategy "
            "trains which model.",
            width,
        )
    )
    return 0
