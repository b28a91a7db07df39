"""An atomic file read at once: tokens as codes into their names, numbers as float64."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from recbole.utils import FeatureType

from recbole_atjt.host.repairs.files import NO_NUMBER

#: Bytes that are read and parsed together; no row is longer.
BLOCK = 2**24


class _CheckedBytes:
    """A file that hashes what is read of it, and refuses what is no UTF-8 text or has a NUL."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self._text = codecs.getincrementaldecoder("utf-8")()
        self._digest = hashlib.sha256()
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._text.decode(block, final=not block)
        if b"\0" in block:
            raise UnicodeError("a NUL character")
        self._digest.update(block)
        return block

    def readable(self) -> bool:
        return True

    def digest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
        self.closed = True


def read_table(
    file: Path, header: Sequence[str], wanted: Sequence[str], separator: str
) -> tuple[pa.Table, str] | None:
    """Read columns of a file in UTF-8 whose rows all have the header's fields.

    What is read has the values that RecBole's reader gives (``data/dataset/dataset.py:486``), at
    about a fiftieth of its time.

    Args:
        file: An atomic file.
        header: Its columns as ``name:type``.
        wanted: Those to read.
        separator: Separator of the columns.

    Returns:
        The columns and the digest of the file's bytes; None where a file is none of this kind,
        which says nothing of whether it is right.
    """
    plain = len(separator) == 1 and separator.isascii() and separator not in "\r\n\"'"
    if not plain or len(header) < 2 or len({*header}) < len(header) or not wanted:
        return None
    source = None
    try:
        source = _CheckedBytes(file)
        table = csv.read_csv(
            source,
            csv.ReadOptions(column_names=list(header), skip_rows=1, block_size=BLOCK),
            csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=True),
            csv.ConvertOptions(
                column_types={name: arrow_type(name) for name in wanted},
                include_columns=list(wanted),
                null_values=NO_NUMBER,
                check_utf8=False,
            ),
        )
        digest = source.digest()
    except (pa.ArrowInvalid, UnicodeError, OSError):
        return None
    finally:
        if source is not None:
            source.close()
    return (in_one_piece(table), digest) if len(table) and _has_numbers(table) else None


def digest_of(file: Path) -> str:
    """Return the digest of a file's bytes, as :func:`read_table` does."""
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as source:
        while block := source.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def arrow_type(column: str) -> pa.DataType:
    """Return the type in which a column ``name:type`` is read."""
    kind = column.rpartition(":")[2]
    if kind == FeatureType.FLOAT.value:
        return pa.float64()
    if kind == FeatureType.TOKEN.value:
        return pa.dictionary(pa.int32(), pa.string())
    return pa.string()


def _has_numbers(table: pa.Table) -> bool:
    """Whether numbers are written as numbers: Arrow takes more words for NaN than pandas."""
    floats = [column for column in table.columns if pa.types.is_floating(column.type)]
    return not any(
        np.isnan(chunk.drop_null().to_numpy()).any() for column in floats for chunk in column.chunks
    )


def in_one_piece(table: pa.Table) -> pa.Table:
    """Join the pieces of codes and numbers, column by column to save memory."""
    table = table.unify_dictionaries()
    for place, name in enumerate(table.column_names):
        column = table.column(name)
        if column.num_chunks > 1 and not pa.types.is_string(column.type):
            table = table.set_column(place, table.field(name), _joined(column))
        del column
    return table


def _joined(column: pa.ChunkedArray) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return column.combine_chunks()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
    return pa.DictionaryArray.from_arrays(codes, column.chunk(0).dictionary)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return columns as RecBole reads them, tokens as a categorical of their names.

    An empty token is missing, an empty sequence an empty text.

    Args:
        table: Columns in one piece, as :func:`read_table` returns them.
    """
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_floating(column.type):
            columns[name] = column.chunk(0).to_numpy(zero_copy_only=False)
        elif pa.types.is_dictionary(column.type):
            columns[name] = _codes(column)
        else:
            columns[name] = np.array(column.to_pylist(), dtype=object)
        table = table.drop_columns([name])
        del column
    return pd.DataFrame(columns, copy=False)


def _codes(column: pa.ChunkedArray) -> pd.Categorical:
    names = column.chunk(0).dictionary.to_pylist()
    codes = column.chunk(0).indices.to_numpy()
    if "" in names:
        empty = names.index("")
        codes = np.where(codes == empty, -1, codes - (codes > empty))
        del names[empty]
    return pd.Categorical.from_codes(codes, pd.Index(names, dtype=object))
