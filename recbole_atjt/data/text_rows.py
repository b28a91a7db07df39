"""The rows of an atomic file as it writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_atjt.data.files import read_header
from recbole_atjt.errors import UsageError


@dataclass(frozen=True)
class TextRows:
    """Columns of a file as text, in its order.

    Args:
        line: Line of each row in the file, from 1, which is the header; ``[n]``.
        columns: Name of each column and its texts, ``[n]``.
    """

    line: np.ndarray
    columns: dict[str, np.ndarray]

    @classmethod
    def read(
        cls, file: Path, names: Sequence[str], separator: str = "\t", encoding: str = "utf-8"
    ) -> TextRows:
        """Read some columns; those that the file has not are left out."""
        offered = read_header(file, separator, encoding)
        place = {name: offered.index(name) for name in names if name in offered}
        lines: list[int] = []
        texts: dict[str, list[str]] = {name: [] for name in place}
        for number, line in numbered_lines(file, encoding):
            cells = line.rstrip("\r\n").split(separator)
            cells += [""] * (len(offered) - len(cells))
            lines.append(number)
            for name, each in place.items():
                texts[name].append(cells[each])
        columns = {name: np.array(found, dtype=object) for name, found in texts.items()}
        return cls(np.array(lines, dtype=np.int64), columns)


def numbered_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield number and text of each line but the header and blank ones, line ends included.

    Raises:
        UsageError: The file can't be read, or has another encoding.
    """
    try:
        with open(file, encoding=encoding, newline="\n") as lines:
            next(lines, None)
            for number, line in enumerate(lines, start=2):
                if line.strip(" \r\n"):
                    yield number, line
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not in encoding={encoding}: name the right one") from error
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from error
