"""RecBole's refusals, in one line: what it raises because of settings and data."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from recbole_atjt.errors import AtjtError, UsageError, in_one_line

#: They stand in for lines of RecBole, so what is raised below them is RecBole's.
_STAND_INS = ("recbole_atjt.host.repairs", "recbole_atjt.host.extensions")


@contextmanager
def refusals_of_recbole(subject: str) -> Iterator[None]:
    """Turn an error of RecBole in the block into a :class:`UsageError` of one line.

    RecBole checks many settings where it first uses them, and leaves as many to pandas or torch.
    An error that started in our own code, or in a model from outside RecBole, passes as it is.

    Args:
        subject: What was being made; the line starts with it.

    Raises:
        UsageError: RecBole, or a library that it called, raised an error or ended the program.
    """
    try:
        yield
    except (AtjtError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if not raised_by_recbole(error):
            raise
        raise UsageError(f"{subject}: {in_one_line(error)}") from error


def raised_by_recbole(error: BaseException) -> bool:
    """Tell whether the last line of ours or RecBole's that an error came through is RecBole's."""
    rooms = [
        name
        for frame, _ in traceback.walk_tb(error.__traceback__)
        for name in [str(frame.f_globals.get("__name__", ""))]
        if name.split(".")[0] in ("recbole", "recbole_atjt") and not name.startswith(_STAND_INS)
    ]
    return bool(rooms) and rooms[-1].split(".")[0] == "recbole"
