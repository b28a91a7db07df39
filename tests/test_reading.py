"""Atomic files are read as they are written, or refused with file and line; the log says what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole

import recbole_atjt
from recbole_atjt import DenoisingConfig, UsageError
from recbole_atjt.cli import main
from tests.runs import LEAVE_ONE_OUT, own_files

HEAD = "user_id:token\titem_id:token\ttimestamp:float"
#: Clicks of three users, times in order.
ROWS = [f"u{user}\ti{(user + step) % 7}\t{100 * step}" for user in range(3) for step in range(6)]


def write(rows: Sequence[str], head: str = HEAD, **others: Sequence[str]) -> None:
    folder = Path("data/small")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, lines in {"inter": [head, *rows], **others}.items():
        text = "\n".join([*lines, ""])
        (folder / f"small.{suffix}").write_text(text, encoding="utf-8")


def config(model: str = "GRU4Rec", **changes: Any) -> DenoisingConfig:
    keys = own_files(**changes)
    return DenoisingConfig(model, "small", config_dict=keys)


def read(model: str = "GRU4Rec", **changes: Any) -> Any:
    return recbole_atjt.create_dataset(config(model, **changes))


def refused(message: str, model: str = "GRU4Rec", **changes: Any) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(model, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
@pytest.mark.parametrize("place", [0, 7])
def test_a_row_with_a_field_too_many_is_refused(model: str, place: int) -> None:
    rows = [f"{row}\t9" if number >= place else row for number, row in enumerate(ROWS)]
    write(rows)
    refused(rf"small\.inter line {place + 2} has 4 fields, the header 3", model)


def test_a_file_that_was_cut_off_is_refused() -> None:
    write([*ROWS, "u1\ti2"])
    refused(r"small\.inter line 20 has 2 fields, the header 3")


def test_short_rows_of_items_have_empty_fields_and_longer_ones_are_refused() -> None:
    items = [f"i{number}\tname" for number in range(6)]
    write(ROWS, item=["item_id:token\ttitle:token", *items, "i6"])
    assert read().item_num == 8
    write(ROWS, item=["item_id:token\ttitle:token", *items, "i6\tname\tmore"])
    refused(r"small\.item line 8 has 3 fields, the header 2")


@pytest.mark.parametrize("kind", ["token", "token_seq", "float_seq"])
@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
def test_times_that_are_no_numbers_are_refused(kind: str, model: str) -> None:
    write(ROWS, HEAD.replace("timestamp:float", f"timestamp:{kind}"))
    refused(f"TIME_FIELD is 'timestamp' of type {kind}, which has no order in time", model)


@pytest.mark.parametrize("value", ["", "nan", "inf", "-inf", "NA"])
@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
def test_clicks_without_a_time_are_refused(value: str, model: str) -> None:
    write([*ROWS, f"u1\ti1\t{value}"])
    refused("1 of 19 clicks have no time, row 19 the first: give timestamp a number", model)


def test_without_an_order_by_time_no_time_is_needed() -> None:
    write([*ROWS, "u1\ti1\t"])
    random = {"split": {"RS": [8, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"}
    assert len(read("BPR", eval_args=random).inter_feat) == 19


def test_a_value_that_is_no_number_names_its_column() -> None:
    write([*ROWS, "u1\ti1\tnoon"])
    refused(r"small\.inter: a value of column 'timestamp:float' is no number")


@pytest.mark.parametrize("model", ["GRU4Rec", "BPR"])
def test_clicks_a_second_apart_are_in_the_order_of_their_times(model: str) -> None:
    """Seconds of today are 128 apart in float32, in which RecBole keeps times."""
    start = 1_700_000_000
    rows = [f"u{user}\ti{step}\t{start + step}" for user in range(3) for step in range(6)]
    write(rows[::-1])
    dataset = read(model)
    parts = dataset.build()
    held = [list(dataset.id2token("item_id", part.inter_feat["item_id"])) for part in parts[1:]]
    assert held == [["i4"] * 3, ["i5"] * 3]


def test_the_test_targets_of_ml_100k_are_the_last_clicks() -> None:
    file = Path(recbole.__file__).parent / "dataset_example/ml-100k/ml-100k.inter"
    clicks = pd.read_csv(file, sep="\t", dtype=str)
    clicks["time"] = clicks["timestamp:float"].astype(float)
    last = clicks.sort_values("time", kind="stable").groupby("user_id:token").tail(1)
    expected = dict(zip(last["user_id:token"], last["item_id:token"]))
    made = DenoisingConfig(
        "GRU4Rec",
        "ml-100k",
        config_dict={
            "eval_args": {**LEAVE_ONE_OUT, "mode": "full"},
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        },
    )
    dataset = recbole_atjt.create_dataset(made)
    test = recbole_atjt.prepare_loaders(made, dataset)[2].dataset.inter_feat
    users = dataset.id2token("user_id", test["user_id"])
    items = dataset.id2token("item_id", test["item_id"])
    assert dict(zip(users, items)) == expected


NAMES = ["nan", "NA", "None", "[PAD]", "null", '"Great Performances" Cats (1998)', '"', "'x", "#"]


@pytest.mark.parametrize("model", ["GRU4Rec", "BPR", "WideDeep"])
def test_quotes_and_words_for_nothing_are_names(model: str) -> None:
    rows = [f"u{user}\t{name}\t{step}" for user in range(4) for step, name in enumerate(NAMES)]
    titles = [f'{name}\tA "{name}" of \'98' for name in NAMES]
    write(rows, item=["item_id:token\ttitle:token_seq", *titles])
    changes = {}
    if model == "WideDeep":
        negatives = {"distribution": "uniform", "sample_num": 1}
        changes = {"train_neg_sample_args": negatives, "repeatable": True}
    dataset = read(model, **changes)
    assert (dataset.user_num, dataset.item_num) == (5, len(NAMES) + 1)
    tokens = dataset.field2id_token["item_id"]
    assert list(tokens) == ["[PAD]", *NAMES]
    for number, name in enumerate(NAMES, start=1):
        assert dataset.token2id("item_id", name) == number
    test = dataset.build()[2].inter_feat
    assert set(dataset.id2token("item_id", test["item_id"])) == {"#"}


def test_a_run_over_such_names_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"u{user}\t{name}\t{step}" for user in range(4) for step, name in enumerate(NAMES)]
    write(rows, item=["item_id:token\ttitle:token", *(f'{name}\t"t"' for name in NAMES)])
    given = ["--model=GRU4Rec", "--dataset=small", "--data_path=data", "--weighting=channel"]
    small = ["--epochs=2", "--embedding_size=4", "--hidden_size=4", "--topk=[2]"]
    assert main([*given, *small, "--output_dir=out"]) == 0, capsys.readouterr().err


def test_empty_numbers_are_filled_as_recbole_does() -> None:
    rows = [f"{row}\t{'' if number else 4}" for number, row in enumerate(ROWS)]
    write(rows, f"{HEAD}\trating:float")
    assert np.allclose(read("BPR").inter_feat["rating"], 4)


def test_the_log_says_what_was_read_and_what_was_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    items = [f"i{number}\tname" for number in range(6)]
    write([*ROWS, "\ti1\t3", "u9\ti1\t4"], item=["item_id:token\ttitle:token", *items])
    made = config(user_inter_num_interval="[2,inf)")
    recbole_atjt.prepare_loaders(made, recbole_atjt.create_dataset(made))
    lost = sum("\ti6\t" in row for row in ROWS)
    assert lost == 2
    said = [line for line in caplog.messages if line.startswith("small: ")]
    assert said == [
        "small: 2 interactions are left out with 1 items, since the .user or .item file lacks "
        "them; filter_inter_by_user_or_item=False keeps them",
        "small: 3 users, 6 items, 16 interactions of 20 read, 1 taken by missing users and items, "
        "2 taken by filter_inter_by_user_or_item, 1 taken by user_inter_num_interval and "
        "item_inter_num_interval",
        "small: 7 for train, 3 for valid, 3 for test",
    ]


def test_ratings_are_no_labels() -> None:
    rows = [f"{row}\t{1 + number % 5}" for number, row in enumerate(ROWS)]
    write(rows, f"{HEAD}\trating:float")
    keys = {
        "LABEL_FIELD": "rating",
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "repeatable": True,
        "train_neg_sample_args": None,
        "eval_args": {**LEAVE_ONE_OUT, "mode": "labeled"},
    }
    refused(
        "LABEL_FIELD=rating has values from 1 to 5, and a label is 0 or 1: give a thres",
        "WideDeep",
        **keys,
    )
    assert read("WideDeep", **{**keys, "LABEL_FIELD": "label"}, threshold={"rating": 3})


def test_a_ready_split_with_an_empty_name_is_refused() -> None:
    write(ROWS)
    for part in ("train", "valid", "test"):
        rows = [*ROWS, "u1\t\t700"] if part == "valid" else ROWS
        Path(f"data/small/small.{part}.inter").write_text("\n".join([HEAD, *rows, ""]))
    refused(
        r"small\.valid\.inter: row 19 has no item_id", benchmark_filename=["train", "valid", "test"]
    )


@pytest.mark.parametrize(
    "column",
    ["item_id_list:token_seq", "timestamp_list:float", "item_length:float", "neg_item_id:token"],
)
@pytest.mark.parametrize("model", ["GRU4Rec", "DIN"])
def test_columns_in_whose_place_histories_are_put_are_refused(column: str, model: str) -> None:
    write([f"{row}\t1" for row in ROWS], f"{HEAD}\t{column}")
    name = column.split(":")[0]
    refused(f"column '{name}' of the interactions has the name of one that is made", model)
    assert read(model, unload_col={"inter": [name]}, load_col=None).item_num == 8


def test_a_column_may_be_named_after_a_ready_split() -> None:
    write([f"{row}\t1" for row in ROWS], f"{HEAD}\tnumber of the ready split:float")
    assert len(read().build()[2]) == 3


def test_a_column_that_is_named_twice_is_refused() -> None:
    write([f"{row}\tx" for row in ROWS], f"{HEAD}\tuser_id:token")
    refused(r"small\.inter: the header names column 'user_id' twice")


def test_a_file_of_items_without_any_is_refused() -> None:
    write(ROWS, item=["item_id:token\tclass:token_seq"])
    refused(r"small\.item has no row below its header: fill it, or remove it")


@pytest.mark.parametrize("cache", [None, "cache"])
@pytest.mark.parametrize("tail", ["", "\ttags:token_seq", "\tvalues:float_seq"])
def test_a_file_of_interactions_without_any_is_refused(tail: str, cache: str | None) -> None:
    write([], HEAD + tail)
    for _ in range(2):
        refused(r"small\.inter has no row below its header: it needs a row", data_cache=cache)


def test_a_ready_part_without_rows_is_refused() -> None:
    write(ROWS)
    for name, rows in {"one": ROWS, "two": [], "three": ROWS}.items():
        lines = "\n".join([HEAD, *rows, ""])
        Path(f"data/small/small.{name}.inter").write_text(lines, encoding="utf-8")
    names = ["one", "two", "three"]
    refused(r"small\.two\.inter has no row below its header", benchmark_filename=names)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"normalize_all": True}, "normalized"),
        ({"normalize_field": ["values"]}, "normalized"),
        ({"discretization": {"values": {"method": "ED", "bucket": 3}}}, "discretized"),
    ],
)
def test_sequences_without_any_number_are_refused(changes: dict[str, Any], what: str) -> None:
    items = [f"i{number}\t" for number in range(7)]
    write(ROWS, item=["item_id:token\tvalues:float_seq", *items])
    if what == "discretized":
        changes = {**changes, "numerical_features": ["values"]}
    refused(rf"column 'values' has no number in any row, so it can't be {what}", **changes)
    assert read().item_num == 8


@pytest.mark.parametrize("values", ["0.5 1.5", ""])
def test_sequences_of_numbers_beside_clicks_are_trained_on_and_saved(values: str) -> None:
    write([f"{row}\t{values}" for row in ROWS], f"{HEAD}\tvalues:float_seq")
    (run,) = recbole_atjt.run("GRU4Rec", "small", "none", config_dict=own_files(epochs=1)).runs
    assert run.checkpoint is not None
    (found,) = recbole_atjt.Recommender.load(run.checkpoint).recommend(users=["u1"], k=2)
    assert len(found) == 2


def test_an_item_that_all_clicked_is_refused_where_line_would_look_for_ever() -> None:
    write([*ROWS, *(f"u{user}\tall\t0" for user in range(3))])
    with pytest.raises(UsageError, match=r"^model=LINE: all 3 users have clicked item number \d+"):
        recbole_atjt.assemble(config("LINE"))


@pytest.mark.parametrize("model", ["GRU4Rec", "SASRecF"])
def test_items_that_the_item_file_lacks_may_be_kept(model: str) -> None:
    write(ROWS, item=["item_id:token\tclass:token", *(f"i{number}\tx" for number in range(4))])
    changes = {"filter_inter_by_user_or_item": False, "selected_features": ["class"]}
    assert read(model, **changes).item_num == 8
