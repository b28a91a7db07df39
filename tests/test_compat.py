"""RecBole, repaired by `compat`, runs as it did with the libraries of its time."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, get_model, get_trainer

from recbole_atjt.host import install
from recbole_atjt.host.repairs import libraries as compat

SINE = "recbole.model.sequential_recommender.sine"
PER_USER = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
LABELLED = {
    "eval_args": {
        "split": {"RS": [8, 1, 1]},
        "order": "RO",
        "group_by": None,
        "mode": "labeled",
    },
    "threshold": {"rating": 3},
    "metrics": ["AUC"],
    "valid_metric": "AUC",
}


@pytest.fixture(autouse=True)
def _no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])


@pytest.fixture
def _warnings_fail() -> Iterator[None]:
    """Fail on what a user would see; deprecations are shown to nobody unless asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def write(suffix: str, *rows: str) -> None:
    """Write ``toy/toy.<suffix>``; columns are separated by ``|`` here and by tabs there."""
    Path("toy").mkdir(exist_ok=True)
    text = "\n".join(row.replace("|", "\t") for row in rows) + "\n"
    Path("toy", f"toy.{suffix}").write_text(text, encoding="utf-8")


def configure(model: str, load_col: dict[str, list[str]], **settings: Any) -> Any:
    """Give RecBole's config of a small run on the data in ``toy``."""
    common: dict[str, Any] = {
        "data_path": str(Path.cwd()),
        "load_col": load_col,
        "epochs": 1,
        "train_batch_size": 64,
        "embedding_size": 8,
        "hidden_size": 8,
        "inner_size": 8,
        "MAX_ITEM_LIST_LENGTH": 5,
        "filter_inter_by_user_or_item": False,
        "show_progress": False,
        "state": "ERROR",
        "use_gpu": False,
    }
    return Config(model=model, dataset="toy", config_dict={**common, **settings})


def train(config: Any) -> dict[str, float]:
    """Train and test one epoch, as a script that knows nothing of us does."""
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train_data.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.fit(train_data, valid_data, saved=False, show_progress=False)
    result: dict[str, float] = trainer.evaluate(test_data, load_best_model=False)
    return result


def load(load_col: dict[str, list[str]]) -> Any:
    """Give RecBole's dataset with its tables turned into tensors."""
    dataset = create_dataset(configure("BPR", load_col))
    dataset._change_feat_format()
    return dataset


@pytest.fixture
def clicks() -> dict[str, list[str]]:
    """Write 84 interactions of 12 users with 9 items, and give the columns."""
    rows = [
        f"u{user}|i{(user * 2 + step * 4) % 9}|{(user + step) % 5 + 1}|{user * 100 + step}"
        for user in range(12)
        for step in range(7)
    ]
    write("inter", "user_id:token|item_id:token|rating:float|timestamp:float", *rows)
    return {"inter": ["user_id", "item_id", "rating", "timestamp"]}


@pytest.fixture
def gaps() -> None:
    """Write ratings with gaps, and items: i2 without features, i4 not in the file."""
    write(
        "inter",
        "user_id:token|item_id:token|rating:float|tags:token_seq",
        "u1|i1|4|a b",
        "u1|i2||",
        "u2|i3|1|b",
        "u2|i4|1|c a b",
        "u2|i1||",
    )
    write(
        "item",
        "item_id:token|price:float|kind:token|classes:token_seq|vector:float_seq",
        "i1|1|k1|x y|0.5 1.5",
        "i2||||",
        "i3|4|k2|y|2.5",
    )


def columns_of(feat: Interaction) -> dict[str, Any]:
    return {name: feat[name].tolist() for name in feat.columns}


@pytest.mark.usefixtures("gaps", "_warnings_fail")
def test_missing_tokens_become_padding_and_missing_numbers_the_mean() -> None:
    load_col = {"inter": ["user_id", "item_id", "rating"], "item": ["item_id", "price", "kind"]}
    dataset = load(load_col)
    assert dataset.inter_feat["rating"].tolist() == [4, 2, 1, 1, 2]
    assert columns_of(dataset.item_feat) == {
        "item_id": [0, 1, 2, 3, 4],
        "price": [2.5, 1, 2.5, 4, 2.5],
        "kind": [0, 1, 0, 2, 0],
    }


@pytest.mark.usefixtures("gaps", "_warnings_fail")
def test_missing_sequences_become_empty() -> None:
    load_col = {"inter": ["user_id", "item_id"], "item": ["item_id", "classes", "vector"]}
    dataset = load(load_col)
    assert columns_of(dataset.item_feat) == {
        "item_id": [0, 1, 2, 3, 4],
        "classes": [[0, 0], [1, 2], [0, 0], [2, 0], [0, 0]],
        "vector": [[0, 0], [0.5, 1.5], [0, 0], [2.5, 0], [0, 0]],
    }


@pytest.mark.usefixtures("gaps", "_warnings_fail")
def test_token_sequences_of_different_lengths_keep_their_rows() -> None:
    dataset = load({"inter": ["user_id", "item_id", "tags"]})
    assert dataset.field2id_token["tags"].tolist() == ["[PAD]", "a", "b", "c"]
    assert dataset.inter_feat["tags"].tolist() == [
        [1, 2, 0],
        [0, 0, 0],
        [2, 0, 0],
        [3, 1, 2],
        [0, 0, 0],
    ]


@pytest.mark.usefixtures("gaps")
def test_tables_stay_ordinary_tables() -> None:
    dataset = create_dataset(configure("BPR", {"inter": ["user_id", "item_id", "tags"]}))
    feat = dataset._load_feat(str(Path("toy", "toy.inter")), FeatureSource.INTERACTION)
    assert type(feat) is type(dataset.inter_feat) is pd.DataFrame
    assert type(pd.read_csv(Path("toy", "toy.inter"))) is pd.DataFrame
    assert [len(tags) for tags in feat["tags"]] == [2, 0, 1, 3, 0]


@pytest.mark.usefixtures("gaps")
def test_a_failure_while_filling_leaves_the_dataset_its_own_table() -> None:
    dataset = create_dataset(configure("BPR", {"inter": ["user_id", "item_id"]}))
    dataset.inter_feat = table = pd.DataFrame({"unknown": [1.0]})
    with pytest.raises(KeyError, match="unknown"):
        dataset._fill_nan()
    assert dataset.inter_feat is table


@pytest.mark.usefixtures("gaps", "_warnings_fail")
def test_tensors_of_a_read_only_column_can_be_written_to() -> None:
    dataset = create_dataset(configure("BPR", {"inter": ["user_id", "item_id"]}))
    values = np.array([[1, 3], [2, 4]])
    values.flags.writeable = False
    table = pd.DataFrame(values, columns=["user_id", "item_id"], copy=False)
    feat = dataset._dataframe_to_interaction(table)
    assert columns_of(feat) == {"user_id": [1, 2], "item_id": [3, 4]}
    feat["user_id"][0] = 5
    assert table["user_id"].tolist() == [1, 2]


@pytest.mark.usefixtures("_warnings_fail")
@pytest.mark.parametrize("model", ["SASRec", "DCN"])
def test_plain_scripts_train_without_a_warning(model: str, clicks: dict[str, list[str]]) -> None:
    settings = LABELLED if model == "DCN" else {"train_neg_sample_args": None}
    result = train(configure(model, clicks, **settings))
    assert all(0 <= value <= 1 for value in result.values())


@pytest.mark.parametrize("model", ["LightGCN", "NGCF", "SpectralCF", "GCMC"])
def test_graph_models_train(model: str, clicks: dict[str, list[str]]) -> None:
    assert train(configure(model, clicks))["recall@10"] > 0


def test_graph_has_an_edge_for_each_interaction(clicks: dict[str, list[str]]) -> None:
    config = configure("LightGCN", clicks)
    train_data, _, _ = data_preparation(config, create_dataset(config))
    graph = get_model("LightGCN")(config, train_data.dataset).norm_adj_matrix.to_dense()
    users = train_data.dataset.user_num
    expected = train_data.dataset.inter_matrix().toarray() > 0
    assert np.array_equal(graph[:users, users:].numpy() > 0, expected)
    assert torch.equal(graph, graph.T)


def test_ksr_trains_with_preloaded_relations(clicks: dict[str, list[str]]) -> None:
    write("link", "item_id:token|entity_id:token", *(f"i{i}|e{i}" for i in range(9)))
    triples = [f"e{i}|r{i % 2}|e{(i + 1) % 9}" for i in range(9)]
    write("kg", "head_id:token|relation_id:token|tail_id:token", *triples)
    write("ents", "ent_id:token|ent_vec:float_seq", *(f"e{i}|0.{i} 0.5" for i in range(9)))
    write("rels", "rel_id:token|rel_vec:float_seq", "r0|0.1 0.2", "r1|0.3 0.4")
    load_col = {
        **clicks,
        "link": ["item_id", "entity_id"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "ents": ["ent_id", "ent_vec"],
        "rels": ["rel_id", "rel_vec"],
    }
    config = configure(
        "KSR",
        load_col,
        additional_feat_suffix=["ents", "rels"],
        preload_weight={"ent_id": "ent_vec", "rel_id": "rel_vec"},
        alias_of_entity_id=["ent_id"],
        alias_of_relation_id=["rel_id"],
        kg_embedding_size=2,
        train_neg_sample_args=None,
        eval_args=PER_USER,
    )
    assert train(config)["recall@10"] > 0


def test_sequences_of_numbers_are_normalised_row_by_row(clicks: dict[str, list[str]]) -> None:
    rows = [f"i{item}|{' '.join(str(float(k)) for k in range(item % 3 + 1))}" for item in range(9)]
    write("item", "item_id:token|prices:float_seq", *rows)
    columns = {**clicks, "item": ["item_id", "prices"]}
    dataset = create_dataset(configure("BPR", columns, normalize_field=["prices"]))
    tokens = dataset.field2id_token["item_id"]
    found = {tokens[i]: list(v) for i, v in enumerate(dataset.item_feat["prices"]) if i}
    assert found["i0"] == [0.0]
    assert found["i4"] == [0.0, 0.5]
    assert found["i8"] == [0.0, 0.5, 1.0]


def test_metrics_of_the_catalogue(clicks: dict[str, list[str]]) -> None:
    names = ["ItemCoverage", "GiniIndex", "AveragePopularity", "ShannonEntropy", "TailPercentage"]
    settings = {"metrics": [*names, "Hit"], "valid_metric": "Hit@9", "topk": [9]}
    result = train(configure("BPR", clicks, **settings))
    # All 9 items but the user's own are recommended, so every item is covered.
    assert result["itemcoverage@9"] == 1.0
    assert set(result) == {f"{name.lower()}@9" for name in [*names, "Hit"]}
    assert 0.0 <= result["giniindex@9"] < 1.0


def test_kd_dagfm_can_be_ranked(clicks: dict[str, list[str]]) -> None:
    ranked = {"threshold": None, "t_cin": [4, 4], "metrics": ["Hit"], "valid_metric": "Hit@10"}
    ranked["eval_args"] = {**PER_USER, "mode": "uni3"}
    ranked["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    assert train(configure("KD_DAGFM", clicks, **ranked)) == {"hit@10": 1.0}


def test_towers_of_dssm_leave_out_float_columns(clicks: dict[str, list[str]]) -> None:
    rows = [f"i{item}|{item * 1.5}|k{item % 2}" for item in range(9)]
    write("item", "item_id:token|price:float|kind:token", *rows)
    columns = {**clicks, "item": ["item_id", "price", "kind"]}
    config = configure("DSSM", columns, **LABELLED)
    assert 0.0 <= train(config)["auc"] <= 1.0
    model = get_model("DSSM")(config, load(columns))
    assert (model.user_float_field_num, model.item_float_field_num) == (0, 0)


@pytest.mark.parametrize(
    ("model", "batch_size", "sizes"),
    [
        ("DCN", 67, [67]),
        ("LR", 67, [67, 1]),
        ("DCN", 22, [22, 22, 22, 2]),
        ("DCN", 68, [68]),
        ("DCN", 100, [68]),
    ],
)
def test_only_models_that_fail_on_one_sample_miss_it(
    model: str, batch_size: int, sizes: list[int], clicks: dict[str, list[str]]
) -> None:
    config = configure(model, clicks, train_batch_size=batch_size, **LABELLED)
    train_data, _, _ = data_preparation(config, create_dataset(config))
    assert [len(batch) for batch in train_data] == sizes
    assert len(train_data) == len(sizes)
    assert train(config)["auc"] >= 0


def test_names_that_numpy_has_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "long", np.int16, raising=False)
    monkeypatch.delattr(np, "float", raising=False)
    monkeypatch.delattr(np, "unicode", raising=False)
    Config.compatibility_settings(None)
    assert np.long is np.int16
    assert vars(np)["float"] is np.float64
    assert vars(np)["unicode"] is np.str_
    assert np.bool is np.bool_


@pytest.mark.slow
def test_interactions_can_be_made_before_any_config() -> None:
    run_python("""
import recbole_atjt
from recbole.data.interaction import Interaction
assert Interaction({"rating": [1.0, 2.0]})["rating"].tolist() == [1, 2]
""")


@pytest.mark.usefixtures("_warnings_fail")
def test_gradient_scaler_is_current() -> None:
    from recbole.trainer import trainer

    loss = torch.ones((), requires_grad=True)
    assert trainer.amp.GradScaler(enabled=False).scale(loss) is loss
    with trainer.amp.autocast(enabled=False):
        assert (loss * 2).item() == 2


def run_python(script: str) -> str:
    """Run a script in a process of its own, with warnings that anyone would see as errors."""
    command = [sys.executable, "-W", "error::FutureWarning", "-W", "error::UserWarning"]
    done = subprocess.run(
        [*command, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_import_leaves_numpy_and_anomaly_mode_alone() -> None:
    script = """
import numpy, torch
before = dict(vars(numpy))
import recbole_atjt
assert all(vars(numpy)[name] is value for name, value in before.items())
assert not torch.is_anomaly_enabled()
from recbole.model.sequential_recommender import SASRec, SINE
assert not torch.is_anomaly_enabled()
"""
    run_python(script)


@pytest.fixture
def _anomaly_mode_restored() -> Iterator[None]:
    enabled, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    yield
    torch.autograd.set_detect_anomaly(enabled, check_nan)


@pytest.mark.usefixtures("_anomaly_mode_restored")
@pytest.mark.parametrize("setting", [(False, True), (True, True), (True, False)])
def test_first_import_keeps_the_anomaly_mode_of_the_user(
    setting: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = sys.modules[SINE.rpartition(".")[0]]
    monkeypatch.setattr(package, "sine", sys.modules[SINE])
    monkeypatch.delitem(sys.modules, SINE)
    torch.autograd.set_detect_anomaly(*setting)
    compat.stop_anomaly_detection()
    assert SINE in sys.modules
    assert (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()) == setting


@pytest.mark.usefixtures("_anomaly_mode_restored")
def test_anomaly_mode_left_on_by_an_earlier_import_is_turned_off() -> None:
    torch.autograd.set_detect_anomaly(True)
    compat.stop_anomaly_detection()
    assert not torch.is_anomaly_enabled()


@pytest.mark.usefixtures("_anomaly_mode_restored")
def test_a_second_apply_changes_nothing() -> None:
    torch.autograd.set_detect_anomaly(True)
    before = dict(vars(Dataset))
    install.apply()
    assert dict(vars(Dataset)) == before
    assert torch.is_anomaly_enabled()
