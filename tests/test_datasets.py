"""Own clicks become atomic files that are read back as they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recbole_atjt
from recbole_atjt import DenoisingConfig, UsageError, create_dataset
from recbole_atjt.datasets import from_frame


def clicks(**changes: Any) -> pd.DataFrame:
    columns = {
        "user_id": ["a", "a", "b"],
        "item_id": [10, 11, 10],
        "timestamp": [1.5, 2.0, 3.25],
    }
    return pd.DataFrame({**columns, **changes})


def lines(path: str) -> list[list[str]]:
    return [line.split("\t") for line in Path(path).read_text(encoding="utf-8").split("\n")[:-1]]


def test_columns_get_recboles_names_and_types() -> None:
    frame = pd.DataFrame(
        {
            "who": ["a", "a", "b"],
            "what": [10, 11, 10],
            "when": pd.to_datetime(
                ["2026-01-02 03:04:05.25", "2026-01-02 00:00:00.0", "1969-12-31 23:59:59.0"]
            ),
            "stars": [5, np.nan, 3],
            "device": pd.Categorical(["tv", "web", None]),
            "is_noise": [True, False, False],
            "tags": [["x", "y"], [], None],
            "scores": [[1, 2.5], [3], [4]],
        }
    )
    folder = from_frame(frame, "mine", user="who", item="what", time="when")
    assert folder == Path("dataset/mine")
    assert lines("dataset/mine/mine.inter") == [
        [
            "user_id:token",
            "item_id:token",
            "timestamp:float",
            "stars:float",
            "device:token",
            "is_noise:float",
            "tags:token_seq",
            "scores:float_seq",
        ],
        ["a", "10", "1767323045.25", "5", "tv", "1", "x y", "1 2.5"],
        ["a", "11", "1767312000", "", "web", "0", "", "3"],
        ["b", "10", "-1", "3", "", "0", "", "4"],
    ]


def test_zones_are_converted_and_kinds_may_be_chosen() -> None:
    times = pd.to_datetime(["2026-01-02 02:00"] * 3).tz_localize("Europe/Berlin")
    frame = clicks(timestamp=times, year=[1999, 2000, np.nan])
    from_frame(frame, "mine", kinds={"year": "token"})
    header, first, *_, last = lines("dataset/mine/mine.inter")
    assert header[3] == "year:token"
    assert first[2:] == ["1767315600", "1999"]
    assert last[3] == ""


def test_items_and_users_have_files_of_their_own() -> None:
    items = pd.DataFrame({"item_id": [10, 11, 12], "title": ['"A" b', "nan", "c"]})
    users = pd.DataFrame({"user_id": ["b", "a"], "age": [30, 40]})
    from_frame(clicks(), "mine", data_path="data", items=items, users=users)
    assert lines("data/mine/mine.item")[1:3] == [["10", '"A" b'], ["11", "nan"]]
    assert lines("data/mine/mine.user") == [
        ["user_id:token", "age:float"],
        ["b", "30"],
        ["a", "40"],
    ]


def test_a_model_trains_on_them() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(20), 8),
            "item_id": [f"item {n}" for n in rng.integers(12, size=160)],
            "timestamp": pd.date_range("2026-01-01", periods=160, freq="min"),
        }
    )
    from_frame(frame, "mine")
    keys = {"epochs": 1, "hidden_size": 8, "inner_size": 8, "show_progress": False}
    (run,) = recbole_atjt.run("SASRec", "mine", "channel", config_dict=keys).runs
    assert run.test


TOKENS = st.text(
    st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=5
)


@hypothesis.settings(deadline=None)
@given(
    st.lists(
        st.tuples(TOKENS, TOKENS, st.floats(allow_nan=False, allow_infinity=False, width=64)),
        min_size=1,
        max_size=8,
    )
)
def test_tokens_and_times_are_read_back(rows: list[tuple[str, str, float]]) -> None:
    shutil.rmtree("dataset", ignore_errors=True)
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    from_frame(frame, "mine")
    keys = {"load_col": {"inter": ["user_id", "item_id"]}}
    dataset = create_dataset(DenoisingConfig("BPR", "mine", config_dict=keys))
    for field in ("user_id", "item_id"):
        numbers = dataset.inter_feat[field]
        assert list(dataset.id2token(field, numbers)) == list(frame[field])
    assert [float(row[2]) for row in lines("dataset/mine/mine.inter")[1:]] == list(frame.timestamp)


@pytest.mark.parametrize(
    ("changes", "options", "line"),
    [
        ({}, {"user": "usr_id"}, "no column 'usr_id', did you mean 'user_id'"),
        ({"user_id": ["a", None, "b"]}, {}, "user_id is missing in row 1"),
        ({"item_id": ["a", "b\tc", "d"]}, {}, r"'b\\tc' in row 1 has a tab in it"),
        ({"item_id": ["a", "b", "c\nd"]}, {}, "a line break"),
        ({"timestamp": ["2026-01-01"] * 3}, {}, "pandas.to_datetime makes times of texts"),
        ({"timestamp": [1, np.inf, 2]}, {}, "inf in row 1 is not finite"),
        ({"timestamp": [1, np.nan, 2]}, {}, "timestamp is missing in row 1"),
        ({"tags": [["a b"], [], []]}, {}, "'a b' in row 0 has a space in it"),
        ({"a:b": 1}, {}, "'a:b' can't be named so"),
        ({}, {"kinds": {"item_id": "tokens"}}, "tokens is unknown, did you mean 'token'"),
        ({}, {"kinds": {"year": "token"}}, "no column 'year'"),
        (
            {},
            {"items": pd.DataFrame({"item_id": [10]})},
            "lacks 1 .* such as 11",
        ),
        ({}, {"items": pd.DataFrame({"item_id": [10, 11, 10]})}, "10 stands there twice"),
        ({}, {"items": pd.DataFrame({"title": ["a"]})}, "no column 'item_id'"),
        ({"who": ["a"] * 3}, {"user": "who"}, "two columns 'user_id'"),
    ],
)
def test_what_can_not_be_written_is_one_line(
    changes: dict[str, Any], options: dict[str, Any], line: str
) -> None:
    with pytest.raises(UsageError, match=line) as error:
        from_frame(clicks(**changes), "mine", **options)
    assert "\n" not in str(error.value)
    assert not Path("dataset").exists()


def test_names_and_folders_that_are_none() -> None:
    with pytest.raises(UsageError, match="name=a/b is not a name"):
        from_frame(clicks(), "a/b")
    with pytest.raises(UsageError, match="no row"):
        from_frame(clicks().head(0), "mine")
    with pytest.raises(UsageError, match="ml-100k"):
        from_frame(clicks(), "ml-100k")
    from_frame(clicks(), "mine")
    with pytest.raises(UsageError, match="exists already"):
        from_frame(clicks(), "mine")
