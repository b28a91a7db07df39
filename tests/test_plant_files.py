"""Files with planted noise: what changes, what stays to the character, who can read them."""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

from recbole_atjt.errors import UsageError
from recbole_atjt.noise import KINDS, files, plant_files
from tests.models import data_path
from tests.planted import ALL, fingerprint, parts_of

HEADER = ["note:token", "item_id:token", "user_id:token", "timestamp:float", "rating:float"]


def write(name: str, header: list[str], rows: list[Any], time: bool = True) -> Path:
    folder = Path("source") / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def odd_rows(users: int = 6) -> list[list[str]]:
    """Return shuffled clicks whose values a careless reader would change."""
    notes = ['say "hi', "NA", "", "1.0", "007", "null", " spaced ", "é'\\"]
    rows = [
        [notes[(u + t) % 8], f"0{(u * 5 + t * 3) % 11}", f"u{u}", str(10 * t + u), "3.50"]
        for t in range(9)
        for u in range(users)
    ]
    return rows[::2] + rows[1::2]


def read(file: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = file.read_text(encoding="utf-8").split("\n")[:-1]
    return header.split("\t"), [row.split("\t") for row in rows]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "insert"])
def test_only_items_change(kind: str) -> None:
    rows = odd_rows()
    folder = write("odd", HEADER, rows)
    before = fingerprint(folder)
    out = plant_files(folder, "odd", f"{kind}:0.4", "made/new", items=2)
    assert out == Path("made/new/new.inter")
    assert fingerprint(folder) == before
    header, found = read(out)
    assert header == [*HEADER, "is_noise:float"]
    noise = [row[-1] for row in found]
    assert set(noise) == {"0", "1"}
    for old, new in zip(rows, found):
        assert [*old[:1], *old[2:]] == [*new[:1], *new[2:-1]]
        assert (old[1] != new[1]) == (new[-1] == "1")
        assert new[1] in {f"0{item}" for item in range(11)}
        assert new[-1] == "0" or int(old[3]) < 70  # the last two clicks, at 70 and 80, stay
    if kind != "users":  # 6 users with 7 clicks that may change
        assert noise.count("1") == (16 if kind == "swap" else 17)
    assert len(rows) == len(found)


def test_inserted_rows_follow_their_neighbors() -> None:
    rows = odd_rows()
    header, found = read(plant_files(write("odd", HEADER, rows), "odd", "insert:0.5", "made/new"))
    true = [row[:-1] for row in found if row[-1] == "0"]
    assert true == rows
    assert len(found) == len(rows) + 21
    seen: dict[str, list[int]] = defaultdict(list)
    for *_, user, time, _, noise in found:
        if noise == "0":
            seen[user].append(int(time))
    for number, (_, _, user, time, _, noise) in enumerate(found):
        if noise == "1":
            assert found[number - 1][2] == user
            assert min(seen[user]) <= int(time) < sorted(seen[user])[6]
            assert int(time) not in seen[user]
    times = [(row[2], int(row[3])) for row in found if row[-1] == "1"]
    assert len(set(times)) == len(times)
    assert header == [*HEADER, "is_noise:float"]


@pytest.mark.parametrize("spec", [ALL, "insert:0.5"])
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_the_size_of_chunks_does_not_matter(
    chunk: int, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("odd", HEADER, odd_rows())
    expected = plant_files(folder, "odd", spec, "one", items=2).read_text()
    monkeypatch.setattr(files, "CHUNK", chunk)
    assert plant_files(folder, "odd", spec, "two", items=2).read_text() == expected
    assert plant_files(folder, "odd", spec, "three", 1, items=2).read_text() != expected


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0\t\n\r", exclude_categories=("Cs",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(CHARACTERS, max_size=4), min_size=12, max_size=12))
def test_any_text_is_kept(tmp_path: Path, texts: list[str]) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    rows = [[text, str(i % 5), "u", str(i), "1"] for i, text in enumerate(texts)]
    text = "\n".join("\t".join(row) for row in [HEADER, *rows]) + "\n"
    (folder / "x.inter").write_bytes(text.encode())
    out = plant_files(folder, "x", "uniform:0.5", folder / "y", keep=0)
    _, found = read(out)
    assert [row[0] for row in found] == texts


def test_a_nul_character_is_refused() -> None:
    rows = odd_rows()
    rows[3][0] = "a\0b"
    folder = write("odd", HEADER, rows)
    with pytest.raises(UsageError, match=r"odd\.inter line 5 holds a NUL character"):
        plant_files(folder, "odd", "uniform:0.5", "new")
    assert not Path("new").exists()


@pytest.mark.parametrize(("keep", "kept"), [(0.2, 2), (0.3, 3), (1 / 3, 3), (0.34, 4), (0.9, 9)])
def test_a_share_of_the_clicks_is_kept_rounded_up(keep: float, kept: int) -> None:
    rows = odd_rows()  # 9 clicks a user
    _, found = read(
        plant_files(write("odd", HEADER, rows), "odd", "popular:0.99", "new", keep=keep)
    )
    noisy = {int(row[3]) // 10 for row in found if row[-1] == "1"}
    assert noisy == set(range(9 - kept))


def test_a_column_of_the_truth_is_replaced_in_its_place() -> None:
    rows = [["u", str(i % 7), "5", str(i)] for i in range(20)]
    header = ["user_id:token", "item_id:token", "is_noise:token", "timestamp:float"]
    found = read(plant_files(write("odd", header, rows), "odd", "uniform:0.5", "new"))
    assert found[0] == ["user_id:token", "item_id:token", "is_noise:float", "timestamp:float"]
    assert sum(row[2] == "1" for row in found[1]) == 9
    assert all((old[1] != new[1]) == (new[2] == "1") for old, new in zip(rows, found[1]))


def test_without_times_the_order_is_the_file_s() -> None:
    rows = [[f"u{i % 2}", f"i{i % 7}"] for i in range(20)]
    folder = write("odd", ["user_id:token", "item_id:token"], rows)
    _, found = read(plant_files(folder, "odd", "uniform:0.5,insert:0.25", "new", keep=3))
    assert len(found) == 20 + round(0.25 * 14)
    assert [row[:2] for row in found[-6:]] == rows[-6:]
    assert all(row[2] == "0" for row in found[-6:])


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_as_much_noise_as_in_training(kind: str) -> None:
    source = Path(data_path()) / "tiny"
    plant_files(source, "tiny", f"{kind}:0.3", "files/tiny", items=5)
    assert {file.suffix for file in source.iterdir() if file.suffix != ".inter"} == {
        file.suffix for file in Path("files/tiny").iterdir() if file.suffix != ".inter"
    }
    keys = {"data_path": "files", "load_col": None}
    in_files, in_training = parts_of("BPR", None, **keys), parts_of("BPR", f"{kind}:0.3")
    noise = [int(parts[0].inter_feat["is_noise"].sum()) for parts in (in_files, in_training)]
    assert noise[0] == noise[1] > 0 or (kind == "users" and min(noise) > 0)  # users differ in size
    assert len(in_files[0]) == len(in_training[0])
    for part, other in zip(in_files[1:], in_training[1:]):
        assert not part.inter_feat["is_noise"].any()
        assert len(part) == len(other) == 30


@pytest.mark.parametrize("spec", ["popular:0.3", "insert:0.3"])
def test_plain_recbole_reads_it(spec: str) -> None:
    plant_files(Path(data_path()) / "tiny", "tiny", spec, "files/planted")
    keys = {
        "data_path": "files",
        "load_col": {"inter": ["user_id", "item_id", "timestamp", "is_noise"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "show_progress": False,
        "gpu_id": "",
    }
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model="BPR", dataset="planted", config_dict=keys)
    train, valid, test = data_preparation(config, create_dataset(config))
    assert train.dataset.inter_feat["is_noise"].sum() == 63
    assert not valid.dataset.inter_feat["is_noise"].any()
    assert not test.dataset.inter_feat["is_noise"].any()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"plant": "unifrom:0.1"}, "kind 'unifrom' is unknown, did you mean 'uniform'?"),
        ({"plant": None}, "plant is missing"),
        ({"dataset": "od"}, "dataset 'od' not found"),
        ({"item_field": "item"}, "has no column 'item'; it has note, item_id, user_id"),
        ({"time_field": "note"}, "column note:token holds what is no number"),
        ({"output_dir": "source/odd"}, "output_dir=source/odd exists already"),
        ({"output_dir": "new/ml-100k"}, "RecBole reads a dataset named ml-100k"),
        ({"keep": -1}, "keep=-1 is out of range"),
        ({"keep": 1.5}, "keep=1.5 is out of range: it must be a whole number of at least 0, or a"),
        ({"keep": True}, "keep=True is out of range"),
        ({"seed": -1}, "plant_seed=-1 is out of range"),
        ({"plant": "clickbait:0.1"}, "plant_items=30 is out of range: 4 items lie"),
    ],
)
def test_refusals(changes: dict[str, Any], line: str) -> None:
    write("odd", HEADER, odd_rows())
    before = fingerprint(Path())
    given_ = {"dataset": "odd", "plant": "uniform:0.1", "output_dir": "new", **changes}
    with pytest.raises(UsageError) as caught:
        plant_files("source/odd", **given_)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert fingerprint(Path()) == before
