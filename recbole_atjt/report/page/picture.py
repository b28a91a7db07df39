"""A figure with its caption and its numbers, and the runs that figures are of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from recbole_atjt.report.page.html import Markup, element
from recbole_atjt.report.result import RunResult

#: Stands where a number is missing.
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Block:
    """The runs of one model on one dataset.

    Attributes:
        number: Which block of the page it is, from 1.
        runs: All of them.
    """

    number: int
    runs: Sequence[RunResult]

    @property
    def title(self) -> str:
        """Model and dataset."""
        return f"{self.runs[0].model} on {self.runs[0].dataset}"

    @property
    def part(self) -> str:
        """Which metrics are compared: ``test``, or ``valid`` where there is no test."""
        return "test" if self.runs[0].test else "valid"

    @property
    def metric(self) -> str:
        """The metric that selected the epochs; the first one where the config names none."""
        values = getattr(self.runs[0], self.part)
        named = str(self.runs[0].config.get("valid_metric", "")).lower()
        return named if named in values or not values else next(iter(values))

    @property
    def strategies(self) -> dict[str, list[RunResult]]:
        """The runs of each strategy."""
        names = dict.fromkeys(run.weighting for run in self.runs)
        return {name: [run for run in self.runs if run.weighting == name] for name in names}


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        caption: What it shows, and how to read it.
        svg: The drawing.
        header: Names of the columns of its numbers.
        rows: Its numbers, for those who do not see it.
    """

    caption: str
    svg: Markup
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = field(default_factory=list)

    def markup(self) -> Markup:
        """Return it as a ``figure`` element."""
        parts = [self.svg, element("figcaption", self.caption)]
        if self.rows:
            numbers = table(self.caption, self.header, self.rows)
            parts.append(element("details", element("summary", "As numbers"), numbers))
        return element("figure", *parts)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number as text; a dash where there is none."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def table(label: str, header: Sequence[object], rows: Sequence[Sequence[object]]) -> Markup:
    """Return a table in a box of its own, which scrolls where it is too wide.

    Args:
        label: What it holds.
        header: Names of its columns.
        rows: Their cells; the first of each names its row.
    """
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)
