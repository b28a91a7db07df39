"""Matplotlib's figures as small SVG that follows a page's colors and fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from recbole_atjt.errors import UsageError
from recbole_atjt.report.page.html import Markup, plain
from recbole_atjt.report.page.look import GRID, INK, MUTED, SURFACE, VARIABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 340, 250
#: Height that a row of the legend adds.
_ROW = 18
#: Longest labels of which three stand side by side.
_SHORT = 8
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "page",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "hatch.linewidth": 1.2,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "lines.markeredgecolor": SURFACE,
    "lines.markeredgewidth": 0.6,
}
_HREF = "{http://www.w3.org/1999/xlink}href"


def require_matplotlib() -> None:
    """Refuse, in one line, to draw without Matplotlib.

    Raises:
        UsageError: It is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("a page needs Matplotlib: pip install 'recbole_atjt[report]'")


def drawn(draw: Callable[[Axes], Sequence[tuple[Any, str]]], label: str, name: str) -> Markup:
    """Draw a figure.

    Args:
        draw: Draws into axes and returns the legend's entries: what was drawn, and its label.
        label: What the figure shows, for those who do not see it.
        name: Sets its ids apart from those of the page's other figures.

    Returns:
        An ``svg`` element.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        entries = draw(figure.add_subplot())
        entries = [(handle, _legend_text(text)) for handle, text in entries]
        columns = 3 if all(len(text) <= _SHORT for _, text in entries) else 2
        rows = -(-len(entries) // columns)
        figure.set_size_inches(WIDTH / 72, (HEIGHT + _ROW * rows) / 72)
        if entries:
            by_row = [each for column in range(columns) for each in entries[column::columns]]
            figure.legend(
                [handle for handle, _ in by_row],
                [text for _, text in by_row],
                loc="outside lower center",
                ncols=min(columns, len(entries)),
                handlelength=2.6,
                columnspacing=1.2,
            )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=72, metadata={"Date": None})
    return _inline(buffer.getvalue(), plain(label), name)


def _legend_text(text: str) -> str:
    # Matplotlib leaves labels out that begin with an underscore.
    text = plain(text)
    text = text if len(text) <= 20 else text[:19] + "…"
    return f"\N{WORD JOINER}{text}" if text.startswith("_") else text


def _inline(text: str, label: str, name: str) -> Markup:
    """Return Matplotlib's SVG as an element of a page."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        if node.tag == "style":
            node.text = None
        if _HREF in node.attrib:
            node.set("href", node.attrib.pop(_HREF))
        for key, value in list(node.attrib.items()):
            node.set(key, _follow(key, value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _follow(key: str, value: str, name: str) -> str:
    """Let an attribute follow the page: ids of its own, variables for colors, short numbers."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        for color, variable in VARIABLES.items():
            value = value.replace(color, variable)
    if key in ("d", "x", "y", "transform") and "scale" not in value:
        value = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", value)
    return " ".join(value.split())
