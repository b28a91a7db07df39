"""The command line: find the subcommand, call it, turn what is raised into one line and a code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from recbole_atjt.commands.layout import fitted, terminal_width
from recbole_atjt.commands.table import DEFAULT, divide, load
from recbole_atjt.errors import AtjtError, UsageError
from recbole_atjt.parallel.group import SaidElsewhere, launched
from recbole_atjt.settings.arguments import parse_arguments
from recbole_atjt.version import __version__

__all__ = ["main", "parse_arguments"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for failed training, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except AtjtError as error:
        lines = [] if isinstance(error, SaidElsewhere) else str(error).splitlines()
        for line in lines:  # a file may have several mistakes
            print(f"recbole-atjt: {line}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("recbole-atjt: interrupted before training; nothing was saved", file=sys.stderr)
        return 130


def _run(given: Sequence[str]) -> int:
    if list(given) == ["--version"]:
        print(f"recbole_atjt {__version__}")
        return 0
    name, rest = divide(given)
    for word in rest:
        if word.startswith("--help="):
            from recbole_atjt.commands.explain import explained

            print(explained(word[len("--help=") :]))
            return 0
    command = load(name)
    if name != DEFAULT and launched():
        raise UsageError(f"{name} runs in one process: start it without torchrun")
    if "--help" in rest or "-h" in rest:
        print(fitted(command.usage(), terminal_width()))
        return 0
    return command.run(rest)
