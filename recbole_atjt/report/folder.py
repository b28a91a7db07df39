"""The folder of a call: its own by default, and of one call at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from logging import getLogger
from pathlib import Path

from recbole_atjt.errors import UsageError

LOCK = ".lock"
"""File in the folder that is locked while a call writes there; the system unlocks it at the end."""


def new_folder(stem: Path) -> Path:
    """Make a folder that no other call has, named ``stem`` or, where that is taken, ``stem-2``.

    Raises:
        UsageError: It can't be made.
    """
    for number in count(1):
        folder = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if folder.parent.is_dir():
                continue
            raise UsageError(f"{folder.parent} is no folder: give another output_dir") from None
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder
    raise AssertionError


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold a folder for this call; another one into the same folder is refused meanwhile.

    Args:
        folder: It is made if need be.

    Raises:
        UsageError: Another call is writing there, or it can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"output_dir={folder} is in use by another run: wait for it, or give another folder"
            ) from None
        except OSError as error:
            getLogger().warning(
                f"{folder} can't be locked ({error.strerror}): start no second run into it"
            )
        yield
    finally:
        os.close(handle)


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{error.filename or folder} can't be written to: {error.strerror}")
