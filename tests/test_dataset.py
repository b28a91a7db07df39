"""Datasets and loaders against RecBole's own, value for value; splits; errors in one line."""

from __future__ import annotations

import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset as recbole_create_dataset
from recbole.data import data_preparation
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, init_seed

from recbole_atjt import create_dataset, prepare_loaders
from recbole_atjt.data import (
    ContextWindowDataset,
    DIENWindowDataset,
    KGWindowDataset,
    SequentialWindowDataset,
    WindowedDataset,
    Windows,
    ensure_files,
    files,
    header_columns,
)
from recbole_atjt.data.row_groups import Groups, leave_out_cuts
from recbole_atjt.errors import UsageError
from recbole_atjt.model.table import find_model, registered_models
from tests.tiers import fast

LOAD_COL = {
    "inter": ["user_id", "item_id", "rating", "timestamp"],
    "item": ["item_id", "genres", "year"],
    "user": ["user_id", "age"],
}
CE = {"loss_type": "CE", "train_neg_sample_args": None}
BPR = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}
CONTEXT_MODELS = sorted(registered_models(ModelType.CONTEXT))


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])


def write_lines(file: Path, header: str, rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [header.replace(" ", "\t"), *("\t".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")


def write_tiny(name: str = "tiny", users: int = 24, items: int = 30) -> None:
    """Write a dataset with ties in time, sequence fields, and users of 1 to 14 interactions."""
    draw = np.random.default_rng(5)
    rows = []
    for user in range(users):
        for item in draw.choice(items, size=1 + user * 5 % 14, replace=False):
            tags = " ".join(f"t{tag}" for tag in draw.integers(0, 6, draw.integers(0, 4)))
            marks = " ".join(f"{mark:.2f}" for mark in draw.random(draw.integers(1, 3)))
            rating, price = draw.integers(1, 6), round(draw.random(), 2)
            rows.append((user, f"i{item}", rating, draw.integers(0, 20), tags, marks, price))
    rows.append((users - 1, "i1", 3, 5, "t1 t2 t3 t4", "0.1 0.2 0.3", 0.5))
    order = draw.permutation(len(rows))
    folder = Path("dataset") / name
    inter = (
        "user_id:token item_id:token rating:float timestamp:float "
        "tags:token_seq marks:float_seq price:float"
    )
    write_lines(folder / f"{name}.inter", inter, [rows[row] for row in order])
    genres = [(f"i{i}", " ".join(f"g{g}" for g in {i % 3, i % 4}), 1990 + i) for i in range(items)]
    write_lines(folder / f"{name}.item", "item_id:token genres:token_seq year:token", genres)
    ages = [(user, user % 4) for user in range(users)]
    write_lines(folder / f"{name}.user", "user_id:token age:token", ages)


def configure(model: str, dataset: str = "tiny", **settings: Any) -> Config:
    defaults = {
        "data_path": "dataset",
        "load_col": LOAD_COL,
        "MAX_ITEM_LIST_LENGTH": 5,
        "train_batch_size": 16,
        "eval_batch_size": 256,
        "repeatable": True,
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "numerical_features": [],
        "metrics": ["Hit"],
        "valid_metric": "Hit@10",
        "embedding_size": 8,
    }
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
    given_split = settings.pop("eval_args", {})
    config_dict = {
        **defaults,
        **settings,
        "eval_args": {"group_by": "user", **split, **given_split},
    }
    config = Config(model=find_model(model), dataset=dataset, config_dict=config_dict)
    init_seed(config["seed"], True)
    return config


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    if isinstance(theirs, Interaction):
        assert set(ours.columns) == set(theirs.columns), where
        for name in theirs.columns:
            assert_same(ours[name], theirs[name], f"{where}.{name}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for position, (our, their) in enumerate(zip(ours, theirs)):
            assert_same(our, their, f"{where}[{position}]")
    elif isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype, where
        assert torch.equal(ours, theirs), where
    else:
        assert ours is None, where
        assert theirs is None, where


def read_batches(create: Any, prepare: Any, model: str, **settings: Any) -> list[Any]:
    config = configure(model, **settings)
    loaders = prepare(config, create(config))
    init_seed(1, True)
    return [list(loader) for loader in loaders]


def assert_same_batches(model: str, **settings: Any) -> None:
    ours = read_batches(create_dataset, prepare_loaders, model, **settings)
    theirs = read_batches(recbole_create_dataset, data_preparation, model, **settings)
    assert len(theirs[0]) > 1
    assert_same(ours, theirs)


RS = {"split": {"RS": [0.7, 0.2, 0.1]}}
SAME: dict[str, tuple[str, dict[str, Any]]] = {
    "CE without negatives": ("SASRec", CE),
    "pairwise negatives": ("SASRec", BPR),
    "pointwise negatives": ("DIN", {"eval_args": {"mode": "uni5"}}),
    "negatives by popularity": ("SASRec", {**BPR, "eval_args": {"mode": "pop5"}}),
    "DIEN": ("DIEN", {"eval_args": {"mode": "uni5"}}),
    "ratio by user": ("SASRec", {**CE, "eval_args": RS}),
    "ratio by user, uni5": ("SASRec", {**BPR, "eval_args": {**RS, "mode": "uni5"}}),
    "ratio over all": ("SASRec", {**CE, "eval_args": {**RS, "group_by": None}}),
    "by time": ("SASRec", {**CE, "eval_args": {"split": {"TS": [0.7, 0.2, 0.1]}}}),
    "valid only": ("SASRec", {**CE, "eval_args": {"split": {"LS": "valid_only"}}}),
    "test only": ("SASRec", {**CE, "eval_args": {"split": {"LS": "test_only"}}}),
    "unused column": ("SASRec", {**CE, "unused_col": {"inter": ["timestamp"]}}),
    "a transform": ("SASRec", {**CE, "transform": "inverse_itemseq"}),
    "a numerical feature": (
        "SASRec",
        {**CE, "numerical_features": ["rating"], "load_col": {"inter": LOAD_COL["inter"]}},
    ),
}


@pytest.mark.parametrize("case", fast(SAME, 5))
def test_batches_are_recboles(case: str) -> None:
    write_tiny()
    model, settings = SAME[case]
    assert_same_batches(model, **settings)


@pytest.mark.parametrize("model", fast(["SASRec", "DIEN"]))
@pytest.mark.parametrize(
    "numerical",
    [
        [],
        ["price"],
        ["marks", "price"],
    ],
    ids=str,
)
def test_batches_with_sequence_fields_are_recboles(model: str, numerical: list[str]) -> None:
    write_tiny()
    columns = [*LOAD_COL["inter"], "tags", "marks", "price"]
    neg = {} if model == "DIEN" else CE
    assert_same_batches(
        model, load_col={"inter": columns}, numerical_features=numerical, seq_len={"tags": 3}, **neg
    )


@pytest.mark.slow
def test_batches_of_ml_100k_are_recboles() -> None:
    assert_same_batches(
        "SASRec",
        dataset="ml-100k",
        load_col={"inter": LOAD_COL["inter"]},
        user_inter_num_interval="[0,40]",
        train_batch_size=512,
        MAX_ITEM_LIST_LENGTH=20,
        **CE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [0.8, 0.1, 0.1]}], ids=str)
@pytest.mark.parametrize(("model", "mode"), [("SASRec", "full"), ("DIN", "uni100")])
def test_batches_of_all_ml_100k_are_recboles(split: Any, model: str, mode: str) -> None:
    load_col = {"inter": LOAD_COL["inter"], "item": ["item_id", "class"]}
    assert_same_batches(
        model,
        dataset="ml-100k",
        load_col=load_col,
        train_batch_size=2048,
        eval_batch_size=4096,
        MAX_ITEM_LIST_LENGTH=50,
        eval_args={"split": split, "mode": mode},
        **(CE if model == "SASRec" else {}),
    )


@pytest.mark.parametrize("model", fast(["FEARec", "BERT4Rec", "DIEN", "S3Rec"]))
def test_models_that_look_into_the_dataset_lose_as_with_recboles(model: str) -> None:
    write_tiny()
    options: dict[str, Any] = {} if model == "DIEN" else dict(CE)
    if model == "S3Rec":
        options.update(train_stage="pretrain", item_attribute="genres")
    if model == "BERT4Rec":
        options["transform"] = "mask_itemseq"
    losses = []
    for create, prepare in (
        (create_dataset, prepare_loaders),
        (recbole_create_dataset, data_preparation),
    ):
        config = configure(model, hidden_size=8, n_heads=2, **options)
        train = prepare(config, create(config))[0]
        init_seed(7, True)
        network = find_model(model)(config, train.dataset)
        losses.append([float(network.calculate_loss(batch).detach()) for batch in train])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_made_by_workers_are_the_same(workers: int) -> None:
    write_tiny()
    alone = read_batches(create_dataset, prepare_loaders, "SASRec", **CE)
    assert_same(
        read_batches(create_dataset, prepare_loaders, "SASRec", worker=workers, **CE), alone
    )


def test_the_full_matrix_of_interactions_is_recboles() -> None:
    write_tiny()
    matrices = []
    for create in (create_dataset, recbole_create_dataset):
        train = create(configure("SASRec", **CE)).build()[0]
        matrices.append(train.inter_matrix(value_field="rating"))
    assert (matrices[0] != matrices[1]).nnz == 0


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(st.integers(0, 6), min_size=1, max_size=40), parts=st.integers(1, 3))
def test_groups_and_leave_one_out_are_recboles(keys: list[int], parts: int) -> None:
    groups = Groups.by(np.array(keys))
    theirs = list(Dataset._grouped_index(None, keys))
    assert [rows.tolist() for rows in groups] == theirs
    cut = groups.cut(leave_out_cuts(groups.sizes, parts))
    split = Dataset._split_index_by_leave_one_out(None, theirs, parts)
    assert [rows.tolist() for rows in cut] == split


@pytest.mark.parametrize("model", ["SASRec", "WideDeep"])
def test_split_by_user(model: str) -> None:
    write_tiny()
    rows = {}
    for seed in (1, 1, 2):
        config = configure(model, seed=seed, eval_args={"split": {"US": [0.6, 0.2, 0.2]}}, **CE)
        dataset = create_dataset(config)
        parts = dataset.build()
        users = [set(part.inter_feat["user_id"].tolist()) for part in parts]
        assert users == rows.setdefault(seed, users)
        # Of the 22 users with windows, 0.2 * 22 rounded down validate and test, the rest train.
        assert [len(part) for part in users] == [14, 4, 4]
        assert len(users[0] | users[1] | users[2]) == 22
        assert sum(map(len, parts)) == len(dataset)
    assert rows[1] != rows[2]


@pytest.mark.parametrize("order", fast(["TO", "RO"]))
@pytest.mark.parametrize("mode", ["full", "uni5", "labeled"])
@pytest.mark.parametrize(
    "split",
    [{"LS": "valid_and_test"}, {"RS": [0.8, 0.1, 0.1]}, {"TS": [0.7, 0.2, 0.1]}, {"US": [6, 2, 2]}],
    ids=lambda split: next(iter(split)),
)
def test_context_windows_in_every_split(split: Any, mode: str, order: str) -> None:
    write_tiny()
    values = {"metrics": ["AUC"], "valid_metric": "AUC"} if mode == "uni5" else {}
    eval_args = {"split": split, "mode": mode, "order": order}
    config = configure("WideDeep", eval_args=eval_args, **values)
    dataset = create_dataset(config)
    loaders = prepare_loaders(config, dataset)
    assert isinstance(dataset, ContextWindowDataset)
    sequential = create_dataset(configure("SASRec", **CE))
    sequential._change_feat_format()
    expected = Counter(window_keys(sequential.inter_feat.materialize(slice(None))))
    found: Counter[Any] = Counter()
    for loader in loaders:
        assert len(loader) > 0
        for batch in loader:
            batch = batch[0] if isinstance(batch, tuple) else batch
            positive = batch[loader._dataset.label_field] == 1 if "label" in batch else slice(None)
            found.update(window_keys(Interaction({k: batch[k][positive] for k in batch})))
    assert found == expected


def test_split_by_user_does_not_merge_rankings() -> None:
    write_tiny()
    for mode in ("uni5", {"valid": "full", "test": "pop5"}):
        with pytest.raises(UsageError, match="merges all windows of a user into one ranking"):
            create_dataset(
                configure("WideDeep", eval_args={"split": {"US": [6, 2, 2]}, "mode": mode})
            )


def window_keys(batch: Any) -> list[Any]:
    columns = [batch[name].tolist() for name in ("user_id", "item_id", "timestamp", "item_length")]
    return list(zip(*columns, map(tuple, batch["item_id_list"].tolist())))


def test_context_windows_rank_every_window() -> None:
    write_tiny()
    config = configure("WideDeep", eval_args=RS, eval_batch_size=100)
    dataset = create_dataset(config)
    _, valid, _ = prepare_loaders(config, dataset)
    assert valid.step == 100 // dataset.item_num == 3
    windows = valid.dataset.inter_feat
    batches = list(valid)
    assert sum(len(batch) for batch, *_ in batches) == len(windows) == valid.sample_size
    batch, history, positive_user, positive_item = batches[0]
    assert history is None
    assert positive_user.tolist() == [0, 1, 2]
    assert positive_item.tolist() == batch["item_id"].tolist() == windows["item_id"][:3].tolist()


def test_the_history_is_the_only_new_feature_of_context_models() -> None:
    write_tiny()
    config = configure("WideDeep")
    dataset = create_dataset(config)
    train, _, _ = prepare_loaders(config, dataset)
    model = find_model("WideDeep")(config, train.dataset)
    assert model.token_seq_field_names == ["genres", "item_id_list"]
    assert model.token_field_names == ["user_id", "item_id", "age", "year"]
    assert model.float_field_names == []
    assert dataset.num("item_id_list") == dataset.item_num
    assert dataset.field2seqlen["item_id_list"] == 5
    assert dataset.id2token("item_id_list", 3) == dataset.id2token("item_id", 3)
    assert dataset.token2id("item_id_list", "i3") == dataset.token2id("item_id", "i3")
    batch = next(iter(train))
    assert "item_length" in batch
    assert "rating_list" not in batch


@pytest.mark.parametrize("name", fast(CONTEXT_MODELS, 4))
def test_every_context_model_reacts_to_history(name: str) -> None:
    write_tiny()
    config = configure(name, mlp_hidden_size=[8, 8])
    train, _, _ = prepare_loaders(config, create_dataset(config))
    model = find_model(name)(config, train.dataset)
    batch = next(iter(train))
    model.train()
    loss = model.calculate_loss(batch)
    loss.backward()
    assert torch.isfinite(loss)
    model.eval()
    before = model.predict(batch)
    batch["item_id_list"] = batch["item_id_list"].roll(1, 0)
    assert not torch.allclose(model.predict(batch), before, atol=1e-5, rtol=0)


def test_classes_by_model() -> None:
    write_tiny()
    for model, expected in {
        "SASRec": SequentialWindowDataset,
        "DIEN": DIENWindowDataset,
        "WideDeep": ContextWindowDataset,
        "BPR": Dataset,
    }.items():
        dataset = create_dataset(
            configure(model, repeatable=True, **(CE if "SAS" in model else {}))
        )
        assert isinstance(dataset, expected)
        assert isinstance(dataset, WindowedDataset) == (expected is not Dataset)
        windowed = isinstance(dataset.build()[0].inter_feat, Windows)
        assert windowed == (model != "BPR")


def test_general_models_get_recboles_batches() -> None:
    write_tiny()
    assert_same_batches("BPR", repeatable=False, eval_args={**RS, "order": "RO"})


def test_subclass_of_a_special_model_gets_its_dataset() -> None:
    write_tiny()
    config = configure("DIEN")
    config.model_class = type("Mine", (config.model_class,), {})
    assert type(create_dataset(config)) is DIENWindowDataset


def test_knowledge_graph_windows() -> None:
    write_tiny()
    folder = Path("dataset/tiny")
    triples = [(f"e{i}", "r", f"e{(i + 1) % 30}") for i in range(30)]
    write_lines(folder / "tiny.kg", "head_id:token relation_id:token tail_id:token", triples)
    links = [(f"i{i}", f"e{i}") for i in range(30)]
    write_lines(folder / "tiny.link", "item_id:token entity_id:token", links)
    vectors = [(f"i{i}", "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8") for i in range(30)]
    write_lines(folder / "tiny.ent", "ent_id:token ent_emb:float_seq", vectors)
    settings = {
        **CE,
        "load_col": {
            "inter": LOAD_COL["inter"],
            "kg": ["head_id", "relation_id", "tail_id"],
            "link": ["item_id", "entity_id"],
            "ent": ["ent_id", "ent_emb"],
        },
        "additional_feat_suffix": ["ent"],
        "preload_weight": {"ent_id": "ent_emb"},
        "alias_of_item_id": ["ent_id"],
    }
    assert_same_batches("GRU4RecKG", **settings)
    assert type(create_dataset(configure("GRU4RecKG", **settings))) is KGWindowDataset
    (folder / "tiny.kg").unlink()
    with pytest.raises(UsageError, match=r"GRU4RecKG needs the file .*tiny\.kg"):
        create_dataset(configure("GRU4RecKG", **settings))


def write_ready(columns: str, rows_of_files: dict[str, list[tuple[Any, ...]]]) -> None:
    for part, rows in rows_of_files.items():
        write_lines(Path(f"dataset/ready/ready.{part}.inter"), columns, rows)


READY = {"benchmark_filename": ["train", "valid", "test"], **CE}


def test_ready_splits_by_time() -> None:
    write_ready(
        "user_id:token item_id:token timestamp:float",
        {
            "train": [("a", "x", 1), ("b", "x", 1), ("a", "z", 5), ("b", "y", 2)],
            "valid": [("a", "y", 3)],
            "test": [("b", "z", 3), ("a", "x", 9)],
        },
    )
    config = configure("SASRec", "ready", load_col={"inter": LOAD_COL["inter"]}, **READY)
    loaders = prepare_loaders(config, create_dataset(config))
    windows = []
    for loader in loaders:
        dataset = loader.dataset
        batch = dataset[:]
        tokens = dataset.field2id_token["item_id"]
        for history, length, item in zip(
            batch["item_id_list"].tolist(), batch["item_length"].tolist(), batch["item_id"].tolist()
        ):
            windows.append(("".join(tokens[history[:length]]), str(tokens[item])))
        windows.append(("", ""))
    # The targets of a file, each with all that the user did before it.
    train, valid, test = [("xy", "z"), ("x", "y")], [("x", "y")], [("xyz", "x"), ("xy", "z")]
    end = ("", "")
    assert windows == [*train, end, *valid, end, *test, end]


def test_ready_splits_with_ready_lists_are_recboles() -> None:
    header = "user_id:token item_id:token item_id_list:token_seq"
    write_ready(
        header,
        {
            "train": [("a", "y", "x"), ("a", "z", "x y"), ("b", "x", "z")],
            "valid": [("a", "x", "x y z")],
            "test": [("b", "y", "z x")],
        },
    )
    columns = ["user_id", "item_id", "item_id_list"]
    config = configure(
        "SASRec",
        "ready",
        load_col={"inter": columns},
        alias_of_item_id=["item_id_list"],
        train_batch_size=2,
        **READY,
    )
    train, valid, _ = prepare_loaders(config, create_dataset(config))
    assert type(train.dataset.inter_feat) is Interaction
    assert train.dataset.inter_feat["item_length"].tolist() == [1, 2, 1]
    assert next(iter(valid))[0]["item_id_list"].shape == (1, 3)


def test_ready_splits_without_time() -> None:
    write_tiny()
    parts = {"train": [("a", "x"), ("b", "y")], "valid": [("a", "y")], "test": [("b", "z")]}
    write_ready("user_id:token item_id:token", parts)
    settings = {**READY, "load_col": {"inter": ["user_id", "item_id"]}}
    with pytest.raises(UsageError) as error:
        create_dataset(configure("SASRec", "ready", **settings))
    assert "SASRec needs a time field: TIME_FIELD is 'timestamp'" in str(error.value)
    assert "the columns are user_id, item_id" in str(error.value)
    settings["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    config = configure("BPR", "ready", repeatable=False, **settings)
    loaders = prepare_loaders(config, create_dataset(config))
    assert [len(loader.dataset) for loader in loaders] == [2, 1, 1]
    with pytest.raises(UsageError, match="must name three files"):
        create_dataset(configure("BPR", "ready", **{**settings, "benchmark_filename": ["train"]}))


def fail(model: str, dataset: str = "tiny", **settings: Any) -> str:
    config = configure(model, dataset, **settings)
    with pytest.raises(UsageError) as error:
        prepare_loaders(config, create_dataset(config))
    line = str(error.value)
    assert "\n" not in line
    return line


def test_missing_columns_name_what_there_is() -> None:
    write_tiny()
    line = fail("SASRec", TIME_FIELD="date", **CE)
    assert "TIME_FIELD is 'date'" in line
    assert "the columns are user_id, item_id, rating, timestamp, tags" in line
    line = fail("WideDeep", load_col={"inter": ["user_id", "item_id"]})
    assert "TIME_FIELD is 'timestamp', which load_col or unload_col leaves out" in line
    line = fail("BPR", USER_ID_FIELD="uid")
    assert "USER_ID_FIELD is 'uid'" in line
    line = fail("BPR", load_col={"inter": ["user_id", "item_id"]})
    assert "order TO" in line


def test_missing_files_name_where_they_go() -> None:
    write_tiny("my-data")
    line = fail("SASRec", "my-dta", **CE)
    assert f"there is no file {Path('dataset/my-dta/my-dta.inter')}" in line
    assert "did you mean 'my-data'?" in line
    assert "did you mean 'ml-1m'?" in fail("SASRec", "ml-1n", **CE)
    Path("dataset/ml-1m").mkdir()
    Path("dataset/ml-1m/README").touch()
    line = fail("SASRec", "ml-1m", **CE)
    assert line.endswith(str(Path("dataset/ml-1m/ml-1m.inter")))


def test_nothing_left() -> None:
    write_tiny()
    for model in ("SASRec", "BPR"):
        settings = CE if model == "SASRec" else {}
        line = fail(model, user_inter_num_interval="[99,inf)", **settings)
        assert "nothing is left of dataset 'tiny'" in line
        assert "user_inter_num_interval=[99,inf)" in line
    assert "no user has two interactions" in fail("SASRec", user_inter_num_interval="[1,1]", **CE)
    line = fail("SASRec", user_inter_num_interval="[2,2]", **CE)
    assert "leaves nothing for valid of dataset 'tiny'" in line


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"US": [0.8, 0.2]}, "US needs three shares above 0"),
        ({"US": [0.8, 0.2, 0]}, "US needs three shares above 0"),
        ({"US": [0.8, 0.1, float("nan")]}, "US needs three shares above 0"),
        ({"US": 0.8}, "US needs three shares above 0"),
        ({"US": [1, 0.001, 0.001]}, None),
        ({"RS": [0.8, -0.1, 0.3]}, "RS needs three shares of 0 or more"),
        ({"LS": "both"}, "there are valid_and_test, valid_only, test_only"),
        ({"USR": [0.8, 0.1, 0.1]}, "'USR' is unknown, did you mean 'US'?"),
        ({}, "must have one key of RS, LS, TS, US"),
        (None, "must have one key of RS, LS, TS, US"),
    ],
    ids=str,
)
def test_impossible_splits(split: Any, message: str | None) -> None:
    write_tiny()
    settings = {"eval_args": {"split": split}, **CE}
    if message is None:
        parts = create_dataset(configure("SASRec", **settings)).build()
        assert [len(np.unique(part.inter_feat["user_id"])) for part in parts] == [20, 1, 1]
    else:
        assert message in fail("SASRec", **settings)


def test_splits_that_do_not_go_with_the_model() -> None:
    write_tiny()
    by_user = {"eval_args": {"split": {"US": [0.8, 0.1, 0.1]}}}
    assert "BPR cannot serve" in fail("BPR", **by_user)
    few = fail("SASRec", user_inter_num_interval="[14,14]", **by_user, **CE)
    assert "each of train, valid and test needs one" in few
    assert "use TO" in fail("SASRec", eval_args={"order": "RO"}, **CE)
    assert "use TO or RO" in fail("WideDeep", eval_args={"order": "random"})
    assert "repeatable: True" in fail("WideDeep", repeatable=False)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    write_tiny()
    Path("saved").mkdir()
    for name in (
        "tiny-SequentialDataset",
        "tiny-SequentialWindowDataset",
        "tiny-for-SASRec-dataloader",
    ):
        Path(f"saved/{name}.pth").write_bytes(b"not a pickle")
    config = configure("SASRec", save_dataset=True, save_dataloaders=True, **CE)
    assert len(prepare_loaders(config, create_dataset(config))) == 3
    assert all(file.read_bytes() == b"not a pickle" for file in Path("saved").iterdir())


def test_header_columns() -> None:
    write_tiny()
    columns = header_columns("dataset/tiny", "tiny")
    assert columns["item"] == ["item_id", "genres", "year"]
    assert columns["user"] == ["user_id", "age"]
    assert columns["inter"][-1] == "price"
    assert header_columns("dataset/none", "none") == {}
    parts = {"train": [("a", "x")], "valid": [], "test": []}
    write_ready("user_id:token item_id:token", parts)
    ready = header_columns("dataset/ready", "ready", ["train", "valid", "test"])
    assert ready == {"inter": ["user_id", "item_id"]}
    for header in ("user_id item_id:token", "user_id:tokens item_id:token", ""):
        write_lines(Path("dataset/bad/bad.inter"), header, [])
        with pytest.raises(UsageError, match="is not name:type"):
            header_columns("dataset/bad", "bad")


def test_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_tiny("source")
    with zipfile.ZipFile(tmp_path / "Source_1.zip", "w") as archive:
        for suffix in ("inter", "item", "user"):
            archive.write(f"dataset/source/source.{suffix}", f"Source_1.{suffix}")
    urls = {"known": (tmp_path / "Source_1.zip").as_uri(), "gone": (tmp_path / "no.zip").as_uri()}
    monkeypatch.setattr(files, "known_urls", lambda: urls)
    assert type(create_dataset(configure("SASRec", "known", **CE))) is SequentialWindowDataset
    assert sorted(file.name for file in Path("dataset/known").iterdir()) == [
        "known.inter",
        "known.item",
        "known.user",
    ]
    line = fail("SASRec", "gone", **CE)
    assert "could not be downloaded from file:" in line
    assert line.endswith(f"put its files there: {Path('dataset/gone/gone.inter')}")
    assert sorted(path.name for path in Path("dataset").iterdir()) == ["known", "source"]
    (tmp_path / "no.zip").write_bytes(b"<html>")
    assert "not a zip file" in fail("SASRec", "gone", **CE)
    with pytest.raises(UsageError, match="there is no file"):
        ensure_files("dataset/known", "known", ["train"])


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "latin"
    folder.mkdir()
    (folder / "latin.inter").write_bytes("user_id:token\tpré:float\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.inter is not in encoding=utf-8"):
        header_columns(str(folder), "latin")
