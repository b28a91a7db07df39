"""Each scored click is found again in the file, by its line and to the character."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_atjt.scoring.origin import Origin, origin_of
from tests.scores import HEADER, clicks, config_of, parts_of, write_inter


def found(name: str, model: str = "GRU4Rec", **changes: Any) -> tuple[Origin, list[Any]]:
    config = config_of(name, model, **changes)
    _, parts = parts_of(config)
    return origin_of(config, parts), parts


def lines_of(file: Path) -> dict[int, list[str]]:
    rows = file.read_text(encoding="utf-8").split("\n")
    return {number: row.split("\t") for number, row in enumerate(rows, start=1) if row.strip()}


def agrees(origin: Origin, file: Path) -> None:
    """Every row is what its line says, and no line comes twice."""
    lines = lines_of(file)
    for row in origin.table.itertuples():
        assert lines[row.line][:3] == [row.user, row.item, row.time]
    every = [*origin.table["line"], *origin.unscored["line"]]
    assert len(set(every)) == len(every)


def test_each_training_click_but_the_first_has_a_row() -> None:
    file = write_inter("plain", clicks())
    origin, parts = found("plain")
    agrees(origin, file)
    assert Counter(origin.table["user"]) == {f"u{u:02}": 6 for u in range(12)}  # 9 - first - 2
    assert dict(Counter(origin.unscored["part"])) == {"first": 12, "valid": 12, "test": 12}
    assert len(origin.table) == len(parts[0])
    lines = lines_of(file)
    for row in origin.unscored.itertuples():
        time = int(lines[row.line][2]) - 1000
        assert {"first": time < 10, "valid": 70 <= time < 80, "test": time >= 80}[row.part]
    in_file = origin.table["line"].to_numpy()[origin.order]
    assert (in_file[1:] > in_file[:-1]).all()


def test_odd_files() -> None:
    rows = clicks()
    rows[5] = ["", "", ""]  # RecBole leaves out a row without a user
    rows = [*rows[::-1], *[["u01", "i3", "1055.50"]] * 3, ["lonely", "i1", "1000"]]
    file = write_inter("odd", rows)
    text = file.read_text().replace("u02\ti", "\nu02\ti")  # blank lines
    file.write_text(text)
    origin, _ = found("odd", user_inter_num_interval="[5,inf)")
    agrees(origin, file)
    assert "lonely" not in set(origin.table["user"])
    times = origin.table[(origin.table["user"] == "u01") & (origin.table["item"] == "i3")]["time"]
    assert list(times).count("1055.50") == 3


def test_windows_line_ends() -> None:
    file = write_inter("crlf", clicks())
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    origin, _ = found("crlf")
    lines = {
        number: row.split("\t")
        for number, row in enumerate(file.read_bytes().decode().split("\r\n"), start=1)
    }
    for row in origin.table.itertuples():
        assert lines[row.line] == [row.user, row.item, row.time]


def test_large_times_keep_their_digits() -> None:
    rows = [[user, item, f"16{time}123456.25"] for user, item, time in clicks()]
    origin, _ = found(write_inter("late", rows).stem)
    assert set(origin.table["time"]) <= {row[2] for row in rows}
    assert len(set(origin.table["time"])) > 1


def test_models_without_windows_have_a_row_for_each_click() -> None:
    file = write_inter("plain", clicks())
    origin, _ = found("plain", "BPR")
    agrees(origin, file)
    assert Counter(origin.table["user"]) == {f"u{u:02}": 7 for u in range(12)}
    assert dict(Counter(origin.unscored["part"])) == {"valid": 12, "test": 12}


@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
def test_planted_clicks(model: str) -> None:
    rows = clicks()
    file = write_inter("plain", rows)
    lines = lines_of(file)
    origin, _ = found("plain", model, plant="uniform:0.2,insert:0.2")
    for row in origin.table.itertuples():
        if pd.isna(row.line):
            assert row.is_noise == 1
            continue
        user, item, time = lines[row.line]
        assert (user, time) == (row.user, row.time)
        assert (item != row.item) == (row.is_noise == 1)
    added = origin.table["line"].isna()
    assert added.sum() > 5
    assert ((origin.table["is_noise"] == 1) & ~added).sum() > 5
    ordered = origin.table.iloc[origin.order].reset_index()
    for place in ordered.index[ordered["line"].isna()]:
        before = ordered.loc[:place, "line"].dropna()
        if len(before) and lines[before.iloc[-1]][0] == ordered["user"][place]:
            assert float(lines[before.iloc[-1]][2]) <= float(ordered["time"][place])


def test_the_truth_of_the_file_is_known_though_it_is_not_loaded() -> None:
    rows = [[*row, int(row[1] == "i3")] for row in clicks()]
    write_inter("known", rows, [*HEADER, "is_noise:float"])
    load = {"inter": ["user_id", "item_id", "timestamp"]}
    origin, parts = found("known", load_col=load)
    assert "is_noise" not in parts[0].inter_feat
    assert list(origin.table["is_noise"]) == [int(item == "i3") for item in origin.table["item"]]
    rated = [[*row, 1 if row[1] == "i3" else 5] for row in clicks()]
    write_inter("rated", rated, [*HEADER, "rating:float"])
    origin, _ = found("rated", clean_eval={"rating": "[3,inf)"})
    assert list(origin.table["is_noise"]) == [int(item == "i3") for item in origin.table["item"]]
    assert "is_noise" not in found("rated")[0].table


def test_a_truth_that_is_not_everywhere_is_none() -> None:
    rows = [[*row, ""] for row in clicks()]
    write_inter("holes", rows, [*HEADER, "is_noise:float"])
    origin, _ = found("holes", load_col={"inter": ["user_id", "item_id", "timestamp"]})
    assert "is_noise" not in origin.table


def test_ready_splits() -> None:
    rows = sorted(clicks(), key=lambda row: row[2])
    parts = {"train": rows[:84], "valid": rows[84:96], "test": rows[96:]}
    files = [write_inter("split", each, part=f".{name}") for name, each in parts.items()]
    origin, _ = found("split", benchmark_filename=list(parts))
    agrees(origin, files[0])
    assert origin.file.name == "split.train.inter"
    assert set(origin.unscored["part"]) == {"first"}
    assert len(origin.table) + len(origin.unscored) == 84


def test_quotation_marks_are_characters() -> None:
    rows = [[user, f'"{item}"', time] for user, item, time in clicks()]
    file = write_inter("quoted", rows)
    origin, _ = found("quoted")
    agrees(origin, file)
    assert origin.table["item"].str.startswith('"').all()
