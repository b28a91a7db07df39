"""HTML out of text that may be hostile: what is no :class:`Markup` is escaped."""

from __future__ import annotations

import html
import re
from typing import Any

#: Characters that HTML, XML or UTF-8 have no place for.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = ("meta", "br")


class Markup(str):
    """HTML that is put into a page as it is."""

    __slots__ = ()


def plain(text: object) -> str:
    """Return text without the characters that a page has no place for."""
    return _NO_TEXT.sub("\ufffd", str(text))


def escaped(text: object) -> Markup:
    """Return text as markup: markup as it is, all else escaped."""
    return text if isinstance(text, Markup) else Markup(html.escape(plain(text)))


def element(name: str, *children: object, **attributes: Any) -> Markup:
    """Return an element.

    Args:
        name: Its tag.
        children: What stands in it; escaped unless it is markup.
        attributes: By name, ``_`` for ``-``, with one at the end of a Python word; True is a bare
            attribute, None and False are left out.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*parts: object) -> Markup:
    """Return parts behind each other."""
    return Markup("".join(escaped(part) for part in parts))
