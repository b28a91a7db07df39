"""The table of subcommands: name -> its module, loaded when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from recbole_atjt.errors import UsageError, nearest

#: What a call without a subcommand means.
DEFAULT = "train"


@dataclass(frozen=True)
class Row:
    """A subcommand, without loading it.

    Args:
        module: Where it is: a module that is a :class:`Command`.
        summary: What it does, for the list that ``--help`` shows.
    """

    module: str
    summary: str


class Command(Protocol):
    """What the module of a subcommand has."""

    def usage(self) -> str:
        """Return what ``--help`` prints."""

    def run(self, arguments: Sequence[str]) -> int:
        """Do it, with the words after the subcommand's name; return the exit code."""


COMMANDS = {
    "train": Row("recbole_atjt.commands.train", "train and compare; meant where none is named"),
    "bench": Row("recbole_atjt.commands.bench", "models x datasets x plants x strategies x seeds"),
    "tune": Row("recbole_atjt.commands.tune", "search for better settings"),
    "score": Row("recbole_atjt.commands.score", "how likely each training click is to be noise"),
    "clean": Row("recbole_atjt.commands.clean", "write a dataset without its most likely noise"),
    "plant": Row("recbole_atjt.commands.plant", "write a dataset's files with planted noise"),
    "recommend": Row("recbole_atjt.commands.recommend", "the best items for users or histories"),
    "export": Row("recbole_atjt.commands.export", "a trained model for ONNX or torch.export"),
    "models": Row("recbole_atjt.commands.models", "list the models"),
    "strategies": Row("recbole_atjt.commands.strategies", "list the strategies of weighting"),
    "datasets": Row("recbole_atjt.commands.datasets", "list the datasets"),
    "report": Row("recbole_atjt.commands.report", "write the page of a training that is done"),
}


def divide(given: Sequence[str]) -> tuple[str, list[str]]:
    """Return the subcommand that a command line names, and the words after its name.

    Raises:
        UsageError: The first word is neither ``--key=value`` nor a subcommand.
    """
    if not given or given[0].startswith("-"):
        return DEFAULT, list(given)
    name, *rest = given
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        raise UsageError(
            f"command '{name}' is unknown{hint}: use {', '.join(COMMANDS)} or --key=value; "
            "see --help"
        )
    return name, rest


def load(name: str) -> Command:
    """Return the module of a subcommand."""
    return cast(Command, import_module(COMMANDS[name].module))


def listed() -> str:
    """Return the subcommands and what they do, a line each."""
    width = max(map(len, COMMANDS))
    return "\n".join(f"  {name.ljust(width)}  {row.summary}" for name, row in COMMANDS.items())
