"""Tables of benches in documents: what a mark asks for, and that it is what stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recbole_atjt.bench.journal import read_lines
from recbole_atjt.bench.notes import notes_on_lines
from recbole_atjt.bench.specification import read_bench
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent
tables = load_script(ROOT / "docs" / "bench_tables.py")
DOCUMENTS = load_script(ROOT / "docs" / "generate.py").BENCHED
ASKED = [
    pytest.param(what, id=f"{document}-{number}-{what['file']}")
    for document in DOCUMENTS
    for number, what in enumerate(tables.asked_in((ROOT / document).read_text(encoding="utf-8")))
]


def cells_of(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def lines_of(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    return read_lines(ROOT / "benchmarks" / "results" / f"{what['file']}.jsonl")


def test_the_planted_bench_is_whole() -> None:
    bench = read_bench(ROOT / "benchmarks" / "planted.yaml")
    assert not list(notes_on_lines(bench, lines_of({"file": "planted"})))


@pytest.mark.parametrize("what", ASKED)
def test_a_table_has_the_means_of_its_cells(what: Mapping[str, Any]) -> None:
    bench = read_bench(ROOT / "benchmarks" / f"{what['file']}.yaml")
    lines = lines_of(what)
    foreign = [note for note in notes_on_lines(bench, lines) if "of other settings" in note]
    assert not foreign, "cells that the file does not ask for any more"
    assert all("failed" not in line for line in lines)
    head, _, *rows = cells_of(tables.table_of(what))
    place, metric = head.index("strategy"), what.get("metric", bench.show[-1])
    figure = head.index(tables.metric_name(metric))
    assert rows
    for row in rows:
        values = [
            line["test"][metric]
            for line in lines
            if f"`{line['strategy']}`" == row[place] and is_of(line, dict(zip(head, row)))
        ]
        assert values, row
        assert float(row[figure].split(" ± ")[0]) == pytest.approx(
            sum(values) / len(values), abs=5.1e-5
        )


def is_of(line: Mapping[str, Any], row: Mapping[str, str]) -> bool:
    """Tell whether a cell belongs to a row, by the names that the row has."""
    kind, _, share = line["plant"].partition(":")
    planted = f"{kind} {float(share) * 100:.0f} %" if share else "nothing"
    names = {"model, data": f"{line['model']}, {line['dataset']}", "planted": planted}
    return all(row.get(name, value) == value for name, value in names.items())


def test_a_table_is_written_between_its_marks_and_nowhere_else() -> None:
    what = "{file: planted, plants: none, strategies: [none, channel], columns: [strategy, seeds]}"
    before = f"a\n\n<!-- bench: {what} -->\n\nold\n\n<!-- end of bench -->\n\nz"
    after = tables.filled(before)
    table = re.findall(r"-->\n\n(.*)\n\n<!--", after, re.DOTALL)
    assert after == before.replace("old", table[0])
    assert cells_of(table[0]) == [
        ["strategy", "seeds"],
        ["---", "---"],
        ["`none`", "5"],
        ["`channel`", "5"],
    ]
    assert tables.filled(after) == after


def test_a_mark_with_nothing_in_it_takes_nothing_of_the_next() -> None:
    mark = "<!-- bench: {file: planted, strategies: [none]} -->\n\n"
    end = "<!-- end of bench -->\n"
    made = tables.filled(f"{mark}{end}\nBetween.\n\n{mark}{end}")
    assert made.count("Between.") == 1
    assert made.count("| `none` |") == 2 * tables.filled(f"{mark}{end}").count("| `none` |")
