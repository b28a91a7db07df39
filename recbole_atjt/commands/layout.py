"""Text in the terminal's width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size

INDENT = "  "
_ENTRY = re.compile(r"^(\s+\S+(?: \S+)*\s{2,})(\S.*)$")


def terminal_width() -> int:
    """Return the characters of a line; 80 where output goes to a file or says nothing of it."""
    return max(40, get_terminal_size((80, 24)).columns)


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> str:
    """Return a paragraph in lines of at most ``width`` characters.

    Args:
        text: The paragraph.
        width: Characters of a line.
        indent: What the first line begins with.
        hanging: What the others begin with; ``indent`` by default.
    """
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(text: str, width: int) -> str:
    """Return a usage text with lines of at most ``width`` characters.

    Paragraphs and the entries of lists, which are indented, are filled again; an entry's text goes
    on where it began. A paragraph that begins with ``usage:`` stays as it is.

    Args:
        text: Paragraphs with empty lines between them.
        width: Characters of a line.
    """
    blocks = [_fitted(block, width) for block in text.strip("\n").split("\n\n")]
    return "\n\n".join(blocks)


def _fitted(block: str, width: int) -> str:
    if block.startswith("usage:"):
        return block
    entries: list[list[str]] = []
    for line in block.split("\n"):
        indent = len(line) - len(line.lstrip())
        first = len(entries[-1][0]) - len(entries[-1][0].lstrip()) if entries else -1
        if indent > first > 0 or (entries and indent == first == 0):
            entries[-1].append(line.strip())
        else:
            entries.append([line.rstrip()])
    return "\n".join(_filled(" ".join(entry), width) for entry in entries)


def _filled(entry: str, width: int) -> str:
    """Fill an entry; what follows a gap of several spaces hangs below its beginning."""
    found = _ENTRY.match(entry)
    if found is None:
        indent = " " * (len(entry) - len(entry.lstrip()))
        return wrapped(entry.strip(), width, indent, indent and indent + INDENT * 2)
    return wrapped(found[2], width, found[1], " " * len(found[1]))


def in_columns(names: Sequence[str], width: int) -> str:
    """Return names in columns, read downwards, as many as fit.

    Args:
        names: At least one.
        width: Characters of a line, the indent included.
    """
    wide = max(map(len, names)) + len(INDENT)
    columns = max(1, (width - len(INDENT)) // wide)
    height = -(-len(names) // columns)
    lines = []
    for line in range(height):
        cells = [name.ljust(wide) for name in names[line::height]]
        lines.append((INDENT + "".join(cells)).rstrip())
    return "\n".join(lines)


def described(rows: Sequence[tuple[str, str]], width: int) -> str:
    """Return names and what they are, in two columns; long descriptions go on below themselves.

    Args:
        rows: Name and description.
        width: Characters of a line.
    """
    wide = max(len(name) for name, _ in rows) + 2 * len(INDENT)
    lines = [
        wrapped(text or "-", width, (INDENT + name).ljust(wide), " " * wide) for name, text in rows
    ]
    return "\n".join(lines)
