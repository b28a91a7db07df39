"""Columns of atomic files kept on disk: Arrow files under a checksum, which hold no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import pyarrow as pa

from recbole_atjt.data.columns_at_once import arrow_type, in_one_piece
from recbole_atjt.data.replacing import replacing
from recbole_atjt.errors import UsageError, in_one_line
from recbole_atjt.host.repairs.files import NO_NUMBER

#: First line of an entry; the second is the SHA-256 of what follows, an Arrow IPC file.
_FORMAT = b"recbole_atjt columns 1\n"
_HEAD = len(_FORMAT) + 64 + 1


def cache_of(config: Any) -> ColumnCache | None:
    """Return the cache that ``data_cache`` names, if any.

    Raises:
        UsageError: It is no name of a folder.
    """
    folder = config["data_cache"]
    if folder is None:
        return None
    if not isinstance(folder, str) or not folder or "\0" in folder:
        raise UsageError(f"data_cache={folder!r} is no folder: give its name, or leave it out")
    return ColumnCache(Path(folder))


class ColumnCache:
    """A folder with an entry for each file, by its contents, and each choice of its columns.

    Any number of processes may read and write it, and any entry may be removed. What can't be
    written, or is no entry as this class writes them, costs a line in the log and no more.

    Args:
        folder: Where the entries are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def entry(self, file: Path, digest: str, wanted: Sequence[str], separator: str) -> Path:
        """Return where columns are kept.

        Args:
            file: The atomic file.
            digest: Digest of its bytes.
            wanted: Columns as ``name:type``, in the order of the header.
            separator: Separator of the columns.
        """
        settings = json.dumps([_FORMAT.decode(), digest, list(wanted), separator, NO_NUMBER])
        key = hashlib.sha256(settings.encode()).hexdigest()[:32]
        return self._folder / f"{file.name}.{key}.columns"

    def read(self, entry: Path, wanted: Sequence[str]) -> pa.Table | None:
        """Return the columns of an entry, or None if there is none that is whole.

        Args:
            entry: What :meth:`entry` returned.
            wanted: The columns that it has to hold.
        """
        try:
            data = entry.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            getLogger().warning(f"data_cache: {entry} can't be read: {error.strerror}")
            return None
        body = memoryview(data)[_HEAD:]
        if data[:_HEAD] == _head(hashlib.sha256(body).hexdigest()):
            try:
                table = pa.ipc.open_file(pa.py_buffer(body)).read_all()
                table.validate(full=True)
                types = [pa.field(name, arrow_type(name)) for name in wanted]
                if len(table) and table.schema.equals(pa.schema(types)):
                    return in_one_piece(table)
            except (pa.ArrowException, OSError):
                pass
        getLogger().warning(f"data_cache: {entry} is damaged or none of ours; it is written anew")
        return None

    def write(self, entry: Path, table: pa.Table) -> None:
        """Keep columns, wholly or not at all.

        Args:
            entry: What :meth:`entry` returned.
            table: The columns.
        """
        try:
            with replacing(entry) as temporary, temporary.open("rb+") as file:
                body = _HashedFile(file)
                file.write(bytes(_HEAD))
                with pa.ipc.new_file(pa.PythonFile(body, mode="w"), table.schema) as writer:
                    writer.write_table(table)
                file.seek(0)
                file.write(_head(body.digest.hexdigest()))
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or in_one_line(error)
            getLogger().warning(
                f"data_cache={self._folder} can't be written to: {reason}; the run goes on without"
            )


def _head(digest: str) -> bytes:
    return _FORMAT + digest.encode() + b"\n"


class _HashedFile:
    """A file to write to that hashes what goes into it."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return int(self._file.write(data))

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True
