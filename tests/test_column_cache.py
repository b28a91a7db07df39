"""A cache gives what the file gives; whatever else lies in its place costs a line in the log."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch

import recbole_atjt
from recbole_atjt import DenoisingConfig, UsageError
from recbole_atjt.cli import main
from recbole_atjt.data.column_cache import ColumnCache, cache_of
from tests.runs import own_files

HEAD = "user_id:token\titem_id:token\ttimestamp:float\trating:float\n"
ROWS = [f"u{n % 7}\ti{n * n % 101}\t{n * 1000}\t{n % 5 if n % 3 else ''}\n" for n in range(200)]
WANTED = HEAD.strip().split("\t")


def write(rows: list[str], name: str = "small", head: str = HEAD) -> None:
    Path(f"data/{name}").mkdir(parents=True, exist_ok=True)
    Path(f"data/{name}/{name}.inter").write_text(head + "".join(rows))


def config(model: str = "GRU4Rec", cache: Any = "cache", **changes: Any) -> DenoisingConfig:
    keys = own_files(**{"data_cache": cache, "MAX_ITEM_LIST_LENGTH": 5, **changes})
    return DenoisingConfig(model, "small", config_dict=keys)


def columns(made: DenoisingConfig) -> list[dict[str, torch.Tensor]]:
    """Return all columns of training, validation and test, and the names of items."""
    dataset = recbole_atjt.create_dataset(made)
    loaders = recbole_atjt.prepare_loaders(made, dataset)
    found = []
    for loader in loaders:
        feat = loader._dataset.inter_feat
        found.append({name: torch.as_tensor(feat[name][:]) for name in feat.interaction})
    return found


def assert_same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> None:
    for mine, theirs in zip(one, other):
        assert list(mine) == list(theirs)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def entries() -> list[Path]:
    return sorted(Path("cache").iterdir())


CHANGES: list[dict[str, Any]] = [
    {},
    {"user_inter_num_interval": "[15,15]", "val_interval": {"rating": "[1,inf)"}},
    {"plant": "uniform:0.3"},
    {"clean_eval": {"rating": "[2,inf)"}},
    {"eval_args": {"split": {"US": [0.6, 0.2, 0.2]}, "order": "TO", "mode": "full"}},
]


@pytest.mark.parametrize(
    ("model", "changes"),
    [*(("GRU4Rec", each) for each in CHANGES), *(("BPR", each) for each in CHANGES[:-1])],
    ids=str,
)
def test_a_second_start_has_the_first_ones_values(
    model: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write(ROWS)
    caplog.set_level("INFO")
    expected = columns(config(model, None, **changes))
    assert not Path("cache").exists()
    assert_same(columns(config(model, **changes)), expected)
    assert "data_cache" not in caplog.text
    [entry] = entries()
    assert entry.name.startswith("small.inter.")
    with mock.patch("recbole_atjt.data.coded.read_table", side_effect=AssertionError):
        assert_same(columns(config(model, **changes)), expected)
    assert "small.inter: read from data_cache=cache" in caplog.text


def test_ready_splits_and_files_of_items_have_an_entry_each() -> None:
    write(ROWS)
    folder = Path("data/small")
    for number, part in enumerate(("train", "valid", "test")):
        (folder / f"small.{part}.inter").write_text(HEAD + "".join(ROWS[number::3]))
    items = "item_id:token\tclass:token_seq\n" + "".join(f"i{n}\ta b{n % 3}\n" for n in range(101))
    (folder / "small.item").write_text(items)
    changes = {"benchmark_filename": ["train", "valid", "test"]}
    expected = columns(config(cache=None, **changes))
    for _ in range(2):
        assert_same(columns(config(**changes)), expected)
    assert len(entries()) == 4
    with mock.patch("recbole_atjt.data.coded.read_table", side_effect=AssertionError):
        assert_same(columns(config(**changes)), expected)


def test_other_contents_and_other_columns_are_other_entries() -> None:
    write(ROWS)
    columns(config())
    columns(config(user_inter_num_interval="[1,inf)", MAX_ITEM_LIST_LENGTH=3))  # the same columns
    assert len(entries()) == 1
    columns(config(load_col={"inter": ["user_id", "item_id", "timestamp"]}))
    assert len(entries()) == 2
    write([*ROWS[:-1], ROWS[-1].replace("u", "v")])
    assert_same(columns(config()), columns(config(cache=None)))
    assert len(entries()) == 3


def assert_written_anew(caplog: pytest.LogCaptureFixture, entry: Path, whole: bytes) -> None:
    expected = columns(config(cache=None))
    caplog.clear()
    assert_same(columns(config()), expected)
    said = [line for line in caplog.messages if "data_cache" in line]
    assert said == [f"data_cache: {entry} is damaged or none of ours; it is written anew"]
    assert entry.read_bytes() == whole


def test_a_damaged_entry_is_written_anew(caplog: pytest.LogCaptureFixture) -> None:
    write(ROWS)
    columns(config())
    [entry] = entries()
    whole = entry.read_bytes()
    draw = np.random.default_rng(0)
    damages = [whole[:n] for n in (0, 10, 88, len(whole) // 2, len(whole) - 1)]
    damages += [whole + b"x", b"\x80\x04K\x01." + whole, b"PAR1" * 100, os.urandom(5000)]
    for place in draw.integers(0, len(whole), 12):
        damages.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    for damaged in damages:
        entry.write_bytes(damaged)
        assert_written_anew(caplog, entry, whole)


def forge(table: pa.Table) -> bytes:
    """Return an entry with a right checksum around any table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(body).hexdigest().encode()
    return b"recbole_atjt columns 1\n" + digest + b"\n" + body


def test_a_forged_entry_is_written_anew(caplog: pytest.LogCaptureFixture) -> None:
    write(ROWS)
    columns(config())
    [entry] = entries()
    whole = entry.read_bytes()
    table = ColumnCache(Path("cache")).read(entry, WANTED)
    assert table is not None
    assert forge(table)[:23] == whole[:23]
    outside = pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int32()), ["a"], safe=False)
    outside = outside.take(pa.array([0] * 199 + [1]))
    forged = [
        table.drop_columns(["rating:float"]),
        table.rename_columns(["user_id:token", "item_id:token", "rating:float", "timestamp:float"]),
        table.set_column(3, "rating:float", pa.array(["x"] * 200)),
        table.set_column(0, "user_id:token", outside),
        table.slice(0, 0),
    ]
    for each in forged:
        entry.write_bytes(forge(each))
        assert_written_anew(caplog, entry, whole)


def test_a_folder_in_the_place_of_an_entry_costs_a_line(caplog: pytest.LogCaptureFixture) -> None:
    write(ROWS)
    columns(config())
    [entry] = entries()
    entry.unlink()
    entry.mkdir()
    assert_same(columns(config()), columns(config(cache=None)))
    assert f"data_cache: {entry} can't be read: Is a directory" in caplog.text


def test_a_full_disk_costs_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ROWS)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("recbole_atjt.data.replacing.os.replace", full)
    assert_same(columns(config()), columns(config(cache=None)))
    said = [line for line in caplog.messages if "data_cache" in line]
    assert said == [
        "data_cache=cache can't be written to: No space left on device; the run goes on without"
    ]
    assert entries() == []


@pytest.mark.parametrize("limit", [1, 100, 5000])
def test_a_write_that_breaks_off_leaves_nothing(
    limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    write(ROWS)
    made, soft = config(), resource.getrlimit(resource.RLIMIT_FSIZE)
    expected = columns(config(cache=None))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, soft[1]))
    try:
        dataset = recbole_atjt.create_dataset(made)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert "data_cache=cache can't be written to: File too large" in caplog.text
    assert entries() == []
    parts = [loader._dataset for loader in recbole_atjt.prepare_loaders(made, dataset)]
    found = [{name: p.inter_feat[name][:] for name in p.inter_feat.interaction} for p in parts]
    assert_same(found, expected)


def test_a_place_that_is_no_folder_costs_a_line(caplog: pytest.LogCaptureFixture) -> None:
    write(ROWS)
    Path("cache").write_text("a file")
    assert_same(columns(config()), columns(config(cache=None)))
    assert "data_cache: cache/small.inter" in caplog.text
    assert "can't be written to" in caplog.text


@pytest.mark.parametrize("value", [5, True, "", ["a"], "a\0b"])
def test_what_is_no_folder_is_refused(value: Any) -> None:
    write(ROWS)
    with pytest.raises(UsageError, match=r"data_cache=.* is no folder: give its name"):
        cache_of({"data_cache": value})
    assert cache_of({"data_cache": None}) is None


PROGRAM = """
import sys, recbole_atjt
from tests.test_column_cache import columns, config
sums = [float(c.double().sum()) for part in columns(config()) for c in part.values()]
print(sum(sums))
"""


@pytest.mark.slow
def test_processes_that_write_at_once_leave_one_whole_entry() -> None:
    write(ROWS * 200)
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", PROGRAM]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    done = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 4, done
    assert len({out for out, _ in done}) == 1
    assert not any("data_cache" in error for _, error in done)
    [entry] = entries()
    assert ColumnCache(Path("cache")).read(entry, WANTED) is not None


def test_a_run_from_the_cache_has_the_metrics_of_one_without() -> None:
    write(ROWS)
    given = ["--model=GRU4Rec", "--dataset=small", "--data_path=data", "--epochs=2"]
    small = ["--embedding_size=4", "--hidden_size=4", "--topk=[2]", "--metrics=['Hit','NDCG']"]
    ends = ["--valid_metric=NDCG@2", "--weighting=channel", "--show_progress=False"]
    results = []
    for number, extra in enumerate([[], ["--data_cache=cache"], ["--data_cache=cache"]]):
        assert main([*given, *small, *ends, *extra, f"--output_dir=out{number}"]) == 0
        text = Path(f"out{number}/result.json").read_text()
        results.append(text.split('"valid"')[1].split("}")[0])
    assert len(set(results)) == 1
    assert len(entries()) == 1
