"""The file of finished cells, one JSON line each, that any number of processes may share."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_atjt.errors import UsageError

#: What every line has, beside ``test`` or ``failed``.
_NEEDED = ("model", "dataset", "plant", "strategy", "weighting", "seed", "settings")


class Journal:
    """Finished cells on disk, and claims of those that are being made.

    A claim is a lock on one byte of ``<path>.lock``, which the system gives back when its process
    ends, however it ends. Such locks belong to a process: one journal a process and file.

    Args:
        path: The file of lines; its folder is made.

    Raises:
        UsageError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Held open: closing any handle of the file would give all claims back.
            self._claims = path.with_name(f"{path.name}.lock").open("a+b")
            path.open("ab").close()
        except OSError as error:
            raise UsageError(f"{path} can't be written to: {error.strerror}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.close()

    def lines(self) -> list[dict[str, Any]]:
        """Return the finished cells; what a killed process left half written is none.

        Raises:
            UsageError: A line is not of a bench.
        """
        return read_lines(self.path)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line and see it on disk; half a line of a killed process is taken away first."""
        text = json.dumps(line, allow_nan=False, default=str) + "\n"
        with self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.seek(whole)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def claim(self, identity: str) -> bool:
        """Take a cell for this process; False where another one has it."""
        try:
            place = _place(identity)
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # the two that POSIX allows
            return False
        return True

    def release(self, identity: str) -> None:
        """Give a claim back."""
        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _place(identity))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a bench's file; none if there is no file.

    Raises:
        UsageError: The file cannot be read, or a line is not of a bench.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    *whole, _ = content.split(b"\n")
    return [_read(path, number, text) for number, text in enumerate(whole, start=1)]


def _read(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not {*_NEEDED} <= line.keys():
        raise UsageError(
            f"{path} line {number} is no finished cell: remove it, or use another file"
        )
    return line


def _place(identity: str) -> int:
    """Return the byte that stands for a cell; two cells on one byte would merely wait."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:6], "big")
