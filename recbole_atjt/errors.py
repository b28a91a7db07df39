"""Errors that a person can cause; each carries one clear line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Kinds of errors whose text is clear without their name.
_CLEAR_ALONE = (ValueError, NotImplementedError, RuntimeError)


class AtjtError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is the command's."""

    exit_code = 1


class UsageError(AtjtError):
    """Wrong usage: names the value that was given and what would be right. Exit code 2."""

    exit_code = 2


class TrainingError(AtjtError):
    """Training could not go on; what was saved before stays. Exit code 1."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest known name, or an empty string.

    Args:
        name: What was given.
        known: All names that would be right.
    """
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f", did you mean '{by_lower[close[0]]}'?" if close else ""


def in_one_line(error: BaseException) -> str:
    """Return an error's text on one line, after its kind where the text alone says little."""
    if isinstance(error, SystemExit):
        return "RecBole does not offer this combination of settings"
    text = " ".join(str(error).split())
    if isinstance(error, ZeroDivisionError):
        return f"{text}: a size, a ratio or a length among the settings is too small"
    if isinstance(error, _CLEAR_ALONE) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """End in one line where Ctrl-C comes before the command is there; an import passes it on.

    Raises:
        SystemExit: With 130, where the program is the command.
    """
    try:
        yield
    except KeyboardInterrupt:
        program = Path(sys.argv[0] if sys.argv else "")
        names = (program.name, program.parent.name)
        if not {"run_atjt.py", "recbole-atjt", "recbole_atjt", "-m"} & {*names}:
            raise
        print("recbole-atjt: interrupted before training; nothing was saved", file=sys.stderr)
        raise SystemExit(130) from None
