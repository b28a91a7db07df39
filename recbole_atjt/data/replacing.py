"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_atjt.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file beside ``path``; it takes that name, on disk for good, if the block ends.

    The new file is made here, under a name that nobody can guess, so no link leads elsewhere. If
    the block fails, it is gone and ``path`` is as it was.

    Args:
        path: The final name; missing folders are made.

    Raises:
        OSError: The disk refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # a library may have put a file of its own in the place
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a text, wholly or not at all.

    Args:
        path: The file; missing folders are made.
        text: What it is to hold.

    Raises:
        UsageError: The disk refused.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error
