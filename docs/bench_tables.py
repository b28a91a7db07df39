"""Tables of benches in documents, from the cells that are kept with them.

A table stands between ``<!-- bench: {file: NAME, ...} -->`` and ``<!-- end of bench -->``. It is
that of ``benchmarks/NAME.yaml`` with the cells of ``benchmarks/results/NAME.jsonl``, as far as they
are there. What may follow, as in YAML:

* ``models``, ``datasets``, ``plants``, ``strategies``, ``seeds``: entries that it is restricted to,
* ``metric``: the one that is shown of several; all of the bench by default,
* ``columns``: those that are shown, of :data:`SINGLE`; all that say something by default.

A table of several metrics has a column for each, and none that compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_atjt.bench.cells import NOTHING
from recbole_atjt.bench.journal import read_lines
from recbole_atjt.bench.lists import LISTS, listed
from recbole_atjt.bench.rows import Row, bench_rows
from recbole_atjt.bench.specification import read_bench
from recbole_atjt.bench.table import COLUMNS, figure
from recbole_atjt.settings.yaml_values import parse_value

ROOT = Path(__file__).resolve().parents[1]
BENCHES = ROOT / "benchmarks"
_MARKED = re.compile(
    r"(?P<begin><!-- bench: (?P<what>\{.*?\}) -->\n)(?:(?!<!--).)*(?P<end>\n<!-- end of bench -->)",
    re.DOTALL,
)
#: What metrics are called in documents, if not in capitals.
_NAMES = {"hit": "Hit", "recall": "Recall"}
Column = Callable[[Row], str]


def planted(row: Row) -> str:
    """Return what is planted in words: ``clickbait 30 %``."""
    if row.plant == NOTHING:
        return "nothing"
    kinds = [part.split(":") for part in row.plant.split(",")]
    return _percent(", ".join(f"{kind} {float(share):.0%}" for kind, share in kinds))


def _percent(text: str) -> str:
    return text.replace("%", " %")


#: Columns of a bench that shows one metric; the figure's head is the metric's name.
SINGLE: dict[str, Column] = {
    "model, data": lambda row: f"{row.model}, {row.dataset}",
    "planted": planted,
    "strategy": lambda row: f"`{row.strategy}`",
    "figure": figure,
    **dict(COLUMNS),
    "change": lambda row: _percent(dict(COLUMNS)["change"](row)),
}
#: Columns that are left out unless they are asked for.
_ASKED_FOR = ("reported", "tried")


def metric_name(metric: str) -> str:
    """Return a metric as documents write it: ``NDCG@10``."""
    name, at, k = metric.partition("@")
    return f"{_NAMES.get(name, name.upper())}{at}{k}"


def of_one_metric(rows: Sequence[Row], asked: Sequence[str] | None) -> list[list[str]]:
    """Return head and rows of a table of one metric.

    Args:
        rows: Rows of the bench.
        asked: Names of columns; None for those that say something.
    """
    if asked is None:
        asked = [name for name in SINGLE if name not in _ASKED_FOR]
        asked = [name for name in asked if any(SINGLE[name](row) for row in rows)]
        if len({(row.model, row.dataset) for row in rows}) == 1:
            asked.remove("model, data")
        if {row.plant for row in rows} == {NOTHING}:
            asked.remove("planted")
    head = [metric_name(rows[0].metric) if name == "figure" else name for name in asked]
    return [head, *([SINGLE[name](row) for name in asked] for row in rows)]


def of_several_metrics(tables: Sequence[Sequence[Row]]) -> list[list[str]]:
    """Return head and rows of a table of several metrics, given the rows of each."""
    names = ["model, data", "strategy", "seeds"]
    head = [*names, *(metric_name(rows[0].metric) for rows in tables)]
    return [
        head,
        *(
            [*(SINGLE[name](same[0]) for name in names), *map(figure, same)]
            for same in zip(*tables)
        ),
    ]


def table_of(what: Mapping[str, Any]) -> str:
    """Return the table that a mark asks for, as Markdown."""
    only = {key: listed(what[key]) for key in LISTS if key in what}
    bench = read_bench(BENCHES / f"{what['file']}.yaml", only)
    lines = read_lines(BENCHES / "results" / f"{what['file']}.jsonl")
    shown = [what["metric"]] if "metric" in what else bench.show
    tables = [bench_rows(bench, lines, metric) for metric in shown]
    if len(tables) > 1:
        found = of_several_metrics(tables)
    else:
        found = of_one_metric(tables[0], what.get("columns"))
    head, *rows = (f"| {' | '.join(cells)} |" for cells in found)
    return "\n".join([head, "| " + " | ".join(["---"] * len(found[0])) + " |", *rows])


def asked_in(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield what the marks of a document ask for."""
    for found in _MARKED.finditer(text):
        what = parse_value(found["what"])
        assert isinstance(what, dict), found["what"]
        yield what


def filled(text: str) -> str:
    """Return a document with its tables of benches made anew."""
    tables = iter([table_of(what) for what in asked_in(text)])
    return _MARKED.sub(lambda found: f"{found['begin']}\n{next(tables)}\n{found['end']}", text)
