"""The table: figures by hand, what is warned of, what fits where."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import stdev

import pytest
import yaml

from recbole_atjt.bench.notes import notes_on_lines
from recbole_atjt.bench.rows import Row, bench_rows
from recbole_atjt.bench.specification import Bench
from recbole_atjt.bench.table import comma_separated, markdown, screen
from recbole_atjt.report.headroom import headroom
from tests.benches import bench, line

STRATEGIES = ["none", "t_ce", {"name": "t_ce", "t_ce_drop_rate": 0.1, "label": "mild"}, "oracle"]
#: Values of each strategy on seeds 1, 2, 3.
VALUES = {
    "none": [0.10, 0.20, 0.30],
    "t_ce": [0.12, 0.21, 0.32],
    "mild": [0.40, 0.50, 0.61],
    "oracle": [0.80, 0.90, 1.00],
}


def filled() -> tuple[Bench, list[dict[str, object]]]:
    found = bench(strategies=STRATEGIES, seeds=[1, 2, 3], plants=["popular:0.3"])
    lines = [
        line(
            cell,
            VALUES[cell.strategy][cell.seed - 1],
            noise_auroc=0.5 + cell.seed / 10,
            noise_share=None if cell.strategy == "none" else 0.25,
        )
        for cell in found.cells
    ]
    return found, lines


def by_label(rows: list[Row]) -> dict[str, Row]:
    return {row.strategy: row for row in rows}


def test_rows_worked_by_hand() -> None:
    rows = by_label(bench_rows(*filled(), "m"))
    assert list(rows) == ["none", "t_ce", "mild", "oracle"]
    plain, close, far, oracle = rows.values()
    assert (plain.mean, plain.against, plain.change) == (pytest.approx(0.2), None, None)
    assert plain.deviation == pytest.approx(0.1)
    assert plain.seeds == (1, 2, 3)
    assert close.change == pytest.approx(0.25 / 3 / 1.0)
    assert close.within_spread is True
    assert far.within_spread is False
    assert far.against is not None
    assert far.against.difference == pytest.approx(0.91 / 3)
    assert (far.against.wins, far.against.ties, far.against.losses) == (3, 0, 0)
    assert far.room == headroom(VALUES["none"], VALUES["mild"], VALUES["oracle"])
    assert oracle.room is None
    assert oracle.p is None
    assert close.against is not None
    assert close.against.p is not None
    assert far.against.p is not None
    smaller, larger = sorted([close.against.p, far.against.p])
    assert far.p == pytest.approx(2 * smaller)
    assert close.p == pytest.approx(max(larger, 2 * smaller))
    assert far.auroc == pytest.approx(0.7)
    assert (plain.share, far.share) == (None, 0.25)


def test_what_was_tried_on_validation() -> None:
    found, lines = filled()
    for one in lines:  # validation prefers what test does not
        if one["strategy"] == "t_ce":
            one["valid"] = {"m": 0.9}
    rows = by_label(bench_rows(found, lines, "m"))
    assert [row.tried for row in rows.values()] == [1, 2, 2, 1]
    assert [row.chosen for row in rows.values()] == [None, True, False, None]
    shown = screen(list(rows.values()), 200)
    assert "configurations tried on validation: t_ce 2, mild 2, one of each other" in shown
    assert "validation chooses 't_ce' of its variants" in shown


def test_what_was_tried_elsewhere_is_told() -> None:
    found = bench(strategies=["none", {"name": "t_ce", "tried": 12}], seeds=1)
    rows = bench_rows(found, [line(cell, 0.5) for cell in found.cells], "m")
    assert [row.tried for row in rows] == [1, 12]
    assert "t_ce 12, one of each other" in markdown(rows)


def test_a_difference_within_the_spread_is_warned_of() -> None:
    found, lines = filled()
    shown = screen(bench_rows(found, lines, "m"), 400)
    warned = [text for text in shown.splitlines() if text.startswith("warning: ")]
    assert warned == [
        "warning: GRU4Rec on tiny, popular:0.3 planted: the difference to none is smaller than the "
        "spread over the seeds for t_ce"
    ]
    assert stdev(VALUES["none"]) > 0.05 / 3


@pytest.mark.parametrize("part", ["test", "valid"])
def test_the_part_is_chosen(part: str) -> None:
    found = bench(strategies=["none"], seeds=1, part=part)
    (cell,) = found.cells
    rows = bench_rows(found, [{**line(cell, 0.5), "valid": {"m": 0.7}}], "m")
    assert rows[0].mean == (0.5 if part == "test" else 0.7)
    assert f"m, {part}" in screen(rows, 100)


def test_unfinished_and_failed_cells_count_for_nothing() -> None:
    found, lines = filled()
    lines = [one for one in lines if not (one["strategy"] == "mild" and one["seed"] == 2)]
    broken = {**found.cells[1].names, "failed": "out of luck"}
    kept = [one for one in lines if (one["strategy"], one["seed"]) != ("t_ce", 1)]
    rows = by_label(bench_rows(found, [*kept, broken], "m"))
    assert (rows["t_ce"].seeds, rows["t_ce"].failed) == ((2, 3), 1)
    assert rows["t_ce"].mean == pytest.approx(0.265)
    assert rows["mild"].against is not None
    assert rows["mild"].against.wins == 2
    said = list(notes_on_lines(found, [*kept, broken]))
    assert said == [
        "1 of 12 cells are not finished",
        "failed: GRU4Rec on tiny with popular:0.3, t_ce, seed 1: out of luck",
    ]
    again = by_label(bench_rows(found, [*kept, broken, lines[1]], "m"))
    assert again["t_ce"].failed == 0


def test_lines_of_other_settings_and_versions_are_told() -> None:
    found, lines = filled()
    other = bench(strategies=["none"], seeds=1, more={"epochs": 7}).cells[0]
    lines[0]["versions"] = {"torch": "1"}
    said = list(notes_on_lines(found, [*lines, line(other, 1.0)]))
    assert said == [
        "1 finished cells are of other settings or left out here",
        "the cells were made with 2 sets of versions; each line has its own",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 300])
def test_it_fits_the_screen(width: int) -> None:
    shown = screen(bench_rows(*filled(), "m"), width)
    assert max(map(len, shown.splitlines())) <= width
    assert "0.5033 ± 0.1050" in shown
    assert ("too narrow for" in shown) == (width < 120)
    assert "change" in shown


def test_markdown_and_csv_have_all() -> None:
    rows = bench_rows(*filled(), "m")
    text = markdown(rows)
    table = [part.split(" | ") for part in text.splitlines() if part.startswith("|")]
    assert {len(part) for part in table[:1] + table[2:]} == {13}
    assert "| `mild` | 0.5033 ± 0.1050 | 3 | +151.7% |" in text
    records = list(csv.DictReader(comma_separated(rows).splitlines()))
    assert [record["strategy"] for record in records] == list(VALUES)
    assert float(records[2]["difference"]) == pytest.approx(0.91 / 3)
    assert float(records[2]["headroom"]) == pytest.approx(0.91 / 3 / 0.7)
    assert records[0]["p"] == ""


def test_figures_of_others_stand_beside() -> None:
    Path("theirs.yaml").write_text(
        yaml.safe_dump({"GRU4Rec": {"none": {"m": 20}, "t_ce": {"m": 25}}})
    )
    found = bench(seeds=1, reported="theirs.yaml")
    rows = bench_rows(found, [line(cell, 0.5) for cell in found.cells], "m")
    assert [row.reported for row in rows] == [(0.2, None), (0.25, 0.25)]
    assert "0.2500 (+25.0%)" in markdown(rows)
