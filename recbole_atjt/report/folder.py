"""The folder of a call: its own by default, and of one call at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from logging import getLogger
from pathlib import Path

from recbole_atjt.errors import UsageError

RUNS = "runs"
"""Folder in the working folder for the folders of calls that were given none."""
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
def nothing_empty_after_failure(folder: Path) -> Iterator[None]:
    """Take back the folders that a block leaves empty, if it fails; the folder itself, too.

    Args:
        folder: The folder of a call.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError):
            _remove_empty(folder)
        raise


def _remove_empty(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        if Path(path) != folder:
            with suppress(OSError):  # it holds something
                os.rmdir(path)
    if set(os.listdir(folder)) <= {LOCK}:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
        if folder.parent.name == RUNS:
            folder.parent.rmdir()


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold a folder for this call; another one into the same folder is refused meanwhile.

    Args:
        folder: It is made if need be.

    Raises:
        UsageError: Another call is writing there, or it can't be written to.
    """
    handle = _open_lock(folder)
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


def _open_lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{error.filename or folder} can't be written to: {error.strerror}")
