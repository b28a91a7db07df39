"""Files that are read at once give the datasets that RecBole's row-by-row reading gives."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from torch.utils.data import RandomSampler

import recbole_atjt
from recbole_atjt import DenoisingConfig, UsageError
from recbole_atjt.data.checked import checked
from recbole_atjt.data.columns_at_once import read_table, to_frame
from recbole_atjt.data.history import History
from recbole_atjt.host.extensions import CodeCounter
from recbole_atjt.host.ordering import stable_order
from recbole_atjt.host.repairs.loaders import RowNumbers, Shuffled
from tests.runs import LEAVE_ONE_OUT

BY_RATIO = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}
BY_TIME = {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}
AT_ONCE = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": None, "mode": "full"}
LEAVE = {**LEAVE_ONE_OUT, "mode": "full"}


def config(model: str, dataset: str, folder: Any = None, **changes: Any) -> DenoisingConfig:
    keys = {
        "eval_args": LEAVE,
        "metrics": ["Hit"],
        "topk": [1],
        "valid_metric": "Hit@1",
        "MAX_ITEM_LIST_LENGTH": 4,
        "show_progress": False,
        **changes,
    }
    if folder is not None:
        keys["data_path"] = str(folder)
    if model == "WideDeep":
        keys |= {"repeatable": True, "train_neg_sample_args": {"distribution": "uniform"}}
    return DenoisingConfig(model, dataset, config_dict=keys)


@contextmanager
def row_by_row() -> Iterator[None]:
    """Let our datasets read as they do where a file is not plain."""
    with mock.patch("recbole_atjt.data.coded.read_table", return_value=None):
        yield


@contextmanager
def only_at_once() -> Iterator[None]:
    """Let nothing but columns at once be read."""
    refuse = AssertionError("was read row by row")
    with mock.patch("recbole_atjt.data.coded.check_rows", side_effect=refuse):
        yield


def held(column: Any) -> torch.Tensor:
    return column[:] if isinstance(column, History) else column


def assert_same_values(ours: Any, theirs: Any) -> None:
    assert list(ours.interaction) == list(theirs.interaction)
    for name in theirs.interaction:
        mine, other = held(ours[name]), held(theirs[name])
        assert mine.dtype == other.dtype, name
        assert mine.shape == other.shape, name
        assert torch.equal(torch.nan_to_num(mine), torch.nan_to_num(other)), name


def assert_same_dataset(ours: Any, theirs: Any) -> None:
    """Compare names, numbers, columns, and the parts of two datasets; both are built here."""
    assert ours.field2type == theirs.field2type
    assert ours.field2source == theirs.field2source
    assert ours.field2seqlen == theirs.field2seqlen
    for field, tokens in theirs.field2id_token.items():
        assert ours.field2id_token[field].tolist() == tokens.tolist(), field
        assert ours.field2token_id[field] == theirs.field2token_id[field]
    assert set(ours.field2id_token) == set(theirs.field2id_token)
    assert ours.feat_name_list == theirs.feat_name_list
    built = list(zip(ours.build(), theirs.build()))
    for mine, other in built:
        assert len(mine.inter_feat) == len(other.inter_feat)
        assert_same_values(mine.inter_feat, other.inter_feat)
    for name in ours.feat_name_list[1:]:
        assert_same_values(getattr(ours, name), getattr(theirs, name))


OF_RECBOLE = {"GRU4Rec": SequentialDataset, "BPR": Dataset}


def read_both(made: DenoisingConfig) -> tuple[Any, Any]:
    """Read a dataset ours and RecBole's way; ours must be at once."""
    with only_at_once():
        ours = recbole_atjt.create_dataset(made)
    model = made["model"]
    if model in OF_RECBOLE:
        return ours, OF_RECBOLE[model](made)
    with row_by_row():
        return ours, recbole_atjt.create_dataset(made)


ML_100K: list[dict[str, Any]] = [
    {},
    {"eval_args": BY_RATIO, "user_inter_num_interval": "[30,100]"},
    {"eval_args": BY_TIME, "item_inter_num_interval": "[5,inf);[2,3)", "rm_dup_inter": "first"},
    {"eval_args": AT_ONCE, "val_interval": {"rating": "[3,inf)"}},
    {"val_interval": {"age": ["24", "30", "28", "61"]}, "user_inter_num_interval": "[10,inf)"},
    {"threshold": {"rating": 4}, "normalize_all": True, "load_col": None},
    {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", ML_100K, ids=str)
@pytest.mark.parametrize("model", ["BPR", "GRU4Rec", "WideDeep"])
def test_ml_100k_is_as_recbole_has_it(model: str, changes: dict[str, Any]) -> None:
    keys = {"load_col": {"inter": "*", "user": "*", "item": "*"}, **changes}
    assert_same_dataset(*read_both(config(model, "ml-100k", **keys)))


NAMES = [
    *("nan", "NA", "None", "[PAD]", "null", '"', "'x", '"a b" c', "#", " x ", "é", "漢字"),
    *("a\u2028b", "1", "01", "1.0", "true", "", "-", "inf"),
]
NUMBERS = ["", "nan", "NA", "1", "-0.0", "3.25", "1e3", " 7", "-2.5E-3", "0.1", "123456789.125"]
NUMBERS += ["+5", ".5", "5.", "1e400", "Infinity", "0000012", "1E+2"]
names, numbers = st.sampled_from(NAMES), st.sampled_from(NUMBERS)
lists = st.lists(st.sampled_from(["x", '"', "nan", "é", "", "2"]), max_size=3).map(" ".join)
vectors = st.lists(st.sampled_from(["1", "2.5", "-1e2", ""]), max_size=3).map(" ".join)


@st.composite
def files(draw: st.DrawFn) -> dict[str, str]:
    """Draw an interaction file, and maybe files of users and items, in one of two line ends."""
    end = draw(st.sampled_from(["\n", "\r\n"]))

    def text(head: str, rows: list[tuple[Any, ...]]) -> str:
        return end.join(["\t".join(map(str, row)) for row in [head.split(), *rows]]) + end

    users = st.sampled_from(["u1", "nan", '"u', "u4", ""])
    row = st.tuples(users, names, st.integers(1_700_000_000, 1_700_000_040), numbers, lists)
    head = "user_id:token item_id:token timestamp:float rating:float tags:token_seq"
    drawn = {"inter": text(head, draw(st.lists(row, min_size=4, max_size=40)))}
    if draw(st.booleans()):
        row = st.tuples(names, lists, vectors, numbers)
        head = "item_id:token class:token_seq vector:float_seq price:float"
        drawn["item"] = text(head, draw(st.lists(row, min_size=1, max_size=30)))
    if draw(st.booleans()):
        head = "user_id:token city:token"
        drawn["user"] = text(head, draw(st.lists(st.tuples(users, names), min_size=1)))
    return drawn


@settings(max_examples=100, deadline=None)
@given(
    drawn=files(),
    model=st.sampled_from(["BPR", "GRU4Rec"]),
    eval_args=st.sampled_from([LEAVE, BY_RATIO, BY_TIME, AT_ONCE]),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "user_inter_num_interval": st.sampled_from(["[2,inf)", "[0,3]", "(1,9]"]),
            "item_inter_num_interval": st.sampled_from(["[1,inf)", "[2,4];[6,inf)"]),
            "val_interval": st.just({"rating": "[0,inf)"}),
            "rm_dup_inter": st.sampled_from(["first", "last"]),
            "filter_inter_by_user_or_item": st.booleans(),
        },
    ),
)
def test_awkward_files_are_as_recbole_has_them(
    drawn: dict[str, str], model: str, eval_args: Any, changes: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "odd").mkdir()
        for suffix, text in drawn.items():
            (Path(folder) / f"odd/odd.{suffix}").write_bytes(text.encode())
        if model == "GRU4Rec":  # RecBole's windows of sequences are not those of their rows
            changes = {**changes, "unload_col": {"inter": ["tags"]}}
        made = config(model, "odd", folder, eval_args=eval_args, load_col=None, **changes)
        try:
            theirs = OF_RECBOLE[model](made)
        except (ValueError, IndexError, TypeError) as error:  # nothing is left, or no sequence
            with pytest.raises((UsageError, type(error))):
                recbole_atjt.create_dataset(made)
            return
        with only_at_once():
            ours = recbole_atjt.create_dataset(made)
        lengths = Counter(theirs.inter_feat["user_id"])
        if model == "GRU4Rec" and max(lengths.values(), default=0) < 2:
            with pytest.raises(UsageError, match="no user has two interactions"):
                ours.build()
            return
        assert_same_dataset(ours, theirs)


def write(folder: Path, **others: str) -> Path:
    (folder / "small").mkdir(exist_ok=True)
    for suffix, text in others.items():
        (folder / f"small/small.{suffix}").write_bytes(text.encode())
    return folder / "small/small.inter"


HEAD = "user_id:token\titem_id:token\ttimestamp:float\n"
CLICKS = "".join(f"u{n % 3}\ti{n % 5}\t{n}\n" for n in range(20))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + CLICKS + "u1\ti1\n", "line 22 has 2 fields, the header 3"),
        (HEAD + "u1\ti1\t3\t4\n" + CLICKS, "line 2 has 4 fields, the header 3"),
        (HEAD + CLICKS + "u\0\ti1\t3\n", "line 22 holds a NUL character"),
        (HEAD + CLICKS + "u1\ti1\tNAN\n", "1 of 21 clicks have no time, row 21 the first"),
        (HEAD + CLICKS + "u1\ti1\tnoon\n", "a value of column 'timestamp:float' is no number"),
    ],
)
def test_what_is_refused_row_by_row_is_refused(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, inter=text)
    with pytest.raises(UsageError, match=said):
        recbole_atjt.create_dataset(config("BPR", "small", tmp_path))


def test_another_encoding_in_a_column_that_is_not_read_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, inter="")
    rows = (HEAD.strip() + "\tname:token\n" + CLICKS.replace("\n", "\tx\n")).encode()
    file.write_bytes(rows + b"u1\ti1\t4\t\xff\n")
    keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    with pytest.raises(UsageError, match="is not in encoding=utf-8"):
        recbole_atjt.create_dataset(config("BPR", "small", tmp_path, **keys))


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (HEAD + CLICKS + "u1\ti1\t+5\n", {}),
        (HEAD + CLICKS + "\n\n", {}),
        (HEAD + CLICKS.rstrip("\n"), {}),
        (HEAD.replace("\t", "::") + CLICKS.replace("\t", "::"), {"field_separator": "::"}),
        (HEAD.replace("\t", ",") + CLICKS.replace("\t", ","), {"field_separator": ","}),
        (HEAD + CLICKS, {"encoding": "latin-1"}),
        (HEAD + CLICKS.replace("\n", "\r"), {}),
    ],
)
def test_files_of_other_kinds_are_read_all_the_same(
    tmp_path: Path, text: str, changes: dict[str, Any]
) -> None:
    if changes.get("field_separator") == "::":
        with pytest.raises(UsageError):
            config("BPR", "small", tmp_path, **changes)
        return
    write(tmp_path, inter=text)
    made = config("BPR", "small", tmp_path, **changes)
    assert_same_dataset(recbole_atjt.create_dataset(made), Dataset(made))


def test_short_rows_of_items_are_read_row_by_row(tmp_path: Path) -> None:
    items = "item_id:token\tname:token\ni0\tx\ni1\ni2\ty\ni3\tx\n"
    write(tmp_path, inter=HEAD + CLICKS, item=items)
    made = config("BPR", "small", tmp_path)
    assert_same_dataset(recbole_atjt.create_dataset(made), Dataset(made))


def test_ready_splits_are_as_recbole_has_them(tmp_path: Path) -> None:
    lines = CLICKS.splitlines(keepends=True)
    parts = {"train": lines[:12], "valid": lines[12:16], "test": [*lines[16:], "u9\ti9\t99\n"]}
    write(tmp_path, **{f"{part}.inter": HEAD + "".join(rows) for part, rows in parts.items()})
    made = config("BPR", "small", tmp_path, benchmark_filename=list(parts))
    assert_same_dataset(*read_both(made))


def test_a_knowledge_graph_is_as_recbole_has_it(tmp_path: Path) -> None:
    graph = "head_id:token\trelation_id:token\ttail_id:token\n"
    graph += "".join(f"e{n % 4}\tr{n % 2}\te{n % 7}\n" for n in range(20))
    link = "item_id:token\tentity_id:token\n" + "".join(f"i{n}\te{n}\n" for n in range(4))
    write(tmp_path, inter=HEAD + CLICKS, kg=graph, link=link)
    columns = {"inter": ["user_id", "item_id", "timestamp"], "link": ["item_id", "entity_id"]}
    columns["kg"] = ["head_id", "relation_id", "tail_id"]
    keys = {"HEAD_ENTITY_ID_FIELD": "head_id", "TAIL_ENTITY_ID_FIELD": "tail_id"}
    keys |= {"additional_feat_suffix": None, "preload_weight": None}
    keys |= {"RELATION_ID_FIELD": "relation_id", "ENTITY_ID_FIELD": "entity_id"}
    made = config("GRU4RecKG", "small", tmp_path, load_col=columns, **keys)
    with only_at_once():
        ours = checked(KnowledgeBasedDataset)(made)
    assert_same_dataset(ours, KnowledgeBasedDataset(made))


def test_popularity_draws_the_same_negatives(tmp_path: Path) -> None:
    """Its numbers depend on the order of all windows, so they are sorted as RecBole sorts them."""
    write(tmp_path, inter=HEAD + CLICKS)
    keys = {"train_neg_sample_args": {"distribution": "popularity"}, "loss_type": "BPR"}
    made = config("GRU4Rec", "small", tmp_path, **keys)
    ours, theirs = recbole_atjt.create_dataset(made), SequentialDataset(made)
    ours.build(), theirs.build()
    assert_same_values(ours.inter_feat, theirs.inter_feat)


def test_an_empty_name_has_no_code() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.inter"
        file.write_text("a:token\tb:float\nx\t1\n\t\ny\tNA\nx\t4\n")
        found = read_table(file, ["a:token", "b:float"], ["a:token", "b:float"], "\t")
    assert found is not None
    frame = to_frame(found[0])
    assert frame["a:token"].tolist() == ["x", np.nan, "y", "x"]
    assert list(frame["a:token"].cat.categories) == ["x", "y"]
    assert frame["b:float"].isna().tolist() == [False, True, True, False]


def test_numbers_are_those_of_python(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    texts = [
        repr(float(value)) for value in draw.normal(size=500) * 10.0 ** draw.integers(-9, 18, 500)
    ]
    texts += ["1700000000123456789", "0.1", "123456.789", "-2e-300", "1.7976931348623157e308"]
    file = tmp_path / "a.inter"
    file.write_text("a:token\tb:float\n" + "".join(f"x\t{text}\n" for text in texts))
    found = read_table(file, ["a:token", "b:float"], ["b:float"], "\t")
    assert found is not None
    assert found[0].column(0).to_pylist() == [float(text) for text in texts]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(-3, 3), st.floats(-5, 5), st.integers(-2, 2)), min_size=1),
    scale=st.sampled_from([1.0, 2.0**40, 2.0**60, 0.5]),
)
def test_rows_are_in_the_order_of_their_keys(rows: list[Any], scale: float) -> None:
    first, second, third = (np.array(column) for column in zip(*rows))
    for keys in (
        [first, (third * scale)],
        [third.astype(np.int32), first],
        [second.astype(np.float32)],
        [(first * scale).astype(np.float32), second],
    ):
        expected = np.lexsort(keys[::-1])
        assert stable_order([torch.from_numpy(key) for key in keys]).tolist() == expected.tolist()


def test_a_shuffle_is_torchs_own() -> None:
    for n in (1, 5, 70_000):
        one, other = (torch.Generator().manual_seed(3) for _ in range(2))
        ours = Shuffled(RowNumbers(range(n)), generator=one)
        theirs = RandomSampler(range(n), generator=other)
        for _ in range(2):
            assert list(ours) == list(theirs)
        assert torch.equal(one.get_state(), other.get_state())


def test_codes_are_counted_as_values_are() -> None:
    values = pd.Categorical.from_codes([2, 0, 2, -1, 1, 2], ["a", "b", "c", "d"])
    assert CodeCounter(values) == Counter({"c": 3, np.nan: 1, "a": 1, "b": 1}) == Counter(values)
    assert CodeCounter("hello") == Counter("hello")
    counter = CodeCounter(values)
    counter -= CodeCounter(values[:2])
    assert counter == Counter({"c": 2, "b": 1, np.nan: 1})
