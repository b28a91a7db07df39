"""The config: where defaults come from, what is refused, and that nothing is run as code."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from recbole.model.sequential_recommender import SASRec

from recbole_atjt import DenoisingConfig, UsageError
from recbole_atjt.host.refusals import in_one_line, raised_by_recbole, refusals_of_recbole
from recbole_atjt.model.table import find_model, registered_models
from recbole_atjt.settings.yaml_values import load_yaml, parse_value
from recbole_atjt.weighting.keys import explained_keys
from tests.models import data_path

CODE = "__import__('os').system('touch hacked')"


def make(model: Any = "SASRec", dataset: str = "tiny", **given: Any) -> DenoisingConfig:
    return DenoisingConfig(model, dataset, None, {"data_path": data_path(), "gpu_id": "", **given})


def test_defaults_rise_from_recbole_to_the_caller() -> None:
    assert make()["learning_rate"] == 0.001  # RecBole's
    assert make()["valid_metric"] == "NDCG@10"  # ours for all
    assert make("WideDeep")["mlp_hidden_size"] == [256, 128]  # ours for a model
    assert make("WideDeep")["eval_args"]["mode"] == {"valid": "uni100", "test": "uni100"}
    ml_100k = DenoisingConfig("SASRec", "ml-100k")
    assert ml_100k["load_col"]["item"] == ["item_id", "class"]  # ours for a dataset
    Path("a.yaml").write_text("epochs: 3\nhidden_size: 32\n", encoding="utf-8")
    Path("b.yaml").write_text("# only\n", encoding="utf-8")
    Path("c.yaml").write_text("epochs: 4\n", encoding="utf-8")
    files = ["a.yaml", "b.yaml", "c.yaml"]
    config = DenoisingConfig("SASRec", "tiny", files, {"hidden_size": 16})
    assert (config["epochs"], config["hidden_size"]) == (4, 16)


def test_every_key_of_ours_has_its_default() -> None:
    config = make()
    for item in explained_keys():
        if item.key not in ("metrics", "value_metrics"):
            assert config[item.key] == item.default, item.key


def test_value_metrics_are_moved_out_of_recboles_sight() -> None:
    config = make(metrics=["AUC", "Hit", "NDCG"])
    assert (config["metrics"], config["value_metrics"]) == (["Hit", "NDCG"], ["AUC"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "NDCG@10"),
        ({"topk": [5, 20]}, "NDCG@20"),
        ({"topk": 7}, "NDCG@7"),
        ({"metrics": ["AUC"]}, "AUC"),
        ({"metrics": "Recall"}, "Recall@10"),
        ({"metrics": ["GAUC", "Hit"]}, "GAUC"),
        ({"valid_metric": "hit@5"}, "hit@5"),
    ],
)
def test_the_metric_that_selects_follows_the_metrics(given: dict[str, Any], expected: str) -> None:
    assert make(**given)["valid_metric"] == expected


def test_columns_of_unknown_data_come_from_the_headers() -> None:
    assert make()["load_col"] == {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "user": ["user_id", "age", "gender", "occupation"],
        "item": ["item_id", "release_year", "class"],
    }
    Path("comma").mkdir()
    Path("comma/comma.inter").write_text("user_id:token,item_id:token\n1,2\n", encoding="utf-8")
    config = make("BPR", "comma", data_path=".", field_separator=",", weighting="none")
    assert config["load_col"] == {"inter": ["user_id", "item_id"]}


@pytest.mark.parametrize("model", ["DIN", "TransRec", "FPMC"])
def test_loss_type_does_not_take_the_negatives_of_models_that_do_not_read_it(model: str) -> None:
    assert make(model, loss_type="CE")["train_neg_sample_args"]["distribution"] == "uniform"


def test_a_model_from_outside_may_read_keys_of_its_own() -> None:
    class Mine(SASRec):
        def __init__(self, config: Any, dataset: Any) -> None:
            super().__init__(config, dataset)
            self.mine = config["my_own_key"]

    Mine.__name__ = "SASRec"
    assert make(Mine, my_own_key=3)["my_own_key"] == 3
    with pytest.raises(UsageError, match="'my_own_kye' is unknown, did you mean 'my_own_key'"):
        make(Mine, my_own_kye=3)


@pytest.mark.parametrize("text", [CODE, f"${{{CODE}}}", f"!!python/object/apply:eval [{CODE!r}]"])
def test_values_are_never_run_as_code(text: str) -> None:
    assert isinstance(parse_value(text), (str, list, dict))
    for key in ("item_attribute", "seed", "eval_args"):
        with suppress(UsageError):
            make(**{key: text})
    Path("code.yaml").write_text(f"seed: !!python/object/apply:eval ['{1 + 1}']\n", "utf-8")
    with pytest.raises(UsageError, match=r"code\.yaml is not valid YAML"):
        DenoisingConfig("SASRec", "tiny", ["code.yaml"])
    assert not Path("hacked").exists()


def test_strings_are_read_as_yaml() -> None:
    config = make(learning_rate="1e-2", topk="[3, 4]", shuffle="False", n_heads="1")
    assert (config["learning_rate"], config["topk"]) == (0.01, [3, 4])
    assert (config["shuffle"], config["n_heads"]) == (False, 1)


def test_the_command_line_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pytest", "--epochs=77"])
    assert make()["epochs"] == 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        (b"a: [1,\nb: }", "is not valid YAML"),
        (b"- 1\n- 2\n", "holds no 'key: value' lines"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_config_files_that_are_none(content: bytes | None, message: str) -> None:
    if content is not None:
        Path("given.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=rf"config file given\.yaml {message}") as caught:
        load_yaml(Path("given.yaml"))
    assert "\n" not in str(caught.value)


#: One key wrong, and what its line says.
WRONG: list[tuple[str, Any, str]] = [
    ("epochs", 0, "must be at least 1"),
    ("epochs", -1, "must be at least 1"),
    ("epochs", "abc", "is not a number"),
    ("epochs", 1.5, "is not a whole number"),
    ("epochs", True, "is not a number"),
    ("epochs", None, "is not a number"),
    ("train_batch_size", 0, "must be at least 1"),
    ("eval_batch_size", -3, "must be at least 1"),
    ("learning_rate", -1, "must be above 0"),
    ("learning_rate", 0, "must be above 0"),
    ("learning_rate", "fast", "is not a number"),
    ("learning_rate", float("nan"), "must be above 0"),
    ("weight_decay", -0.1, "must be at least 0"),
    ("learner", "adamm", "did you mean 'adam'"),
    ("state", "loud", "use one of info, debug"),
    ("clip_grad_norm", 5, "is not of the form {max_norm: 1.0}"),
    ("clip_grad_norm", {"max": 1}, "is not of the form"),
    ("MAX_ITEM_LIST_LENGTH", 0, "must be at least 1"),
    ("hidden_size", 0, "must be at least 1"),
    ("hidden_size", "wide", "is not a number"),
    ("n_layers", 1.5, "is not a whole number"),
    ("hidden_dropout_prob", "abc", "is not a number"),
    ("seed", -1, "must be at least 0"),
    ("seed", 2**32, "must be at most 4294967295"),
    ("worker", -1, "must be at least 0"),
    ("eval_step", "abc", "is not a number"),
    ("stopping_step", -1, "must be at least 0"),
    ("shuffle", "maybe", "is not True or False"),
    ("topk", 0, "must be whole numbers of at least 1"),
    ("topk", [], "must be whole numbers of at least 1"),
    ("topk", [5, "a"], "must be whole numbers of at least 1"),
    ("metrics", ["NDGC"], "did you mean 'NDCG'"),
    ("metrics", [], "names no metric"),
    ("metrics", 5, "is not a list"),
    ("metrics", None, "is not a list"),
    ("value_metrics", 5, "is not a list"),
    ("valid_metric", "NDCG@50", r"is not computed: topk=\[5, 10\]"),
    ("valid_metric", "NDCG", "is not computed: use NDCG@5"),
    ("valid_metric", "AUC@5", "is not computed: use AUC"),
    ("valid_metric", "MAP@10", "choose one of metrics"),
    ("valid_metric", None, "is not a name"),
    ("loss_type", "CEE", "did you mean 'CE'"),
    ("loss_type", 5, "use one of CE, BPR, BCE"),
    ("train_neg_sample_args", {"distribution": "uniform"}, "should be None when the loss_type"),
    ("train_neg_sample_args", {"distributoin": "uniform"}, "did you mean 'distribution'"),
    ("train_neg_sample_args", {"sample_num": 0}, "whole number of at least 1"),
    ("train_neg_sample_args", {"alpha": "big"}, "is not a number"),
    ("repeatable", False, "set `repeatable` as `True`"),
    ("eval_args", 5, "is not of the form"),
    ("eval_args", None, "is not of the form"),
    ("eval_args", {"splits": {}}, "did you mean 'split'"),
    ("eval_args", {"order": "XX"}, "use RO or TO"),
    ("eval_args", {"group_by": "item"}, "use user"),
    ("eval_args", {"mode": "unix"}, "use full, labeled, uni100 or pop100"),
    ("data_path", None, "is not a name"),
    ("load_col", 5, "is not of the form {NAME: VALUE}"),
    ("load_col", ["user_id"], "is not of the form"),
    ("val_interval", {"rating": "big"}, "is not an interval"),
    ("user_inter_num_interval", "five", r"is not an interval, such as \[5,inf\)"),
    ("benchmark_filename", 5, "is not a list of names"),
    ("encoding", "martian", "is unknown"),
    ("save_dataset", True, "pickles are not written or read"),
    ("atjt_groups", 1, "at least 2"),
    ("atjt_alpha", -1, "at least 0"),
    ("weighting", "atj", "did you mean 'atjt'"),
    ("atjt_gruops", 2, "did you mean 'atjt_groups'"),
]


@pytest.mark.parametrize(
    ("key", "value", "message"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG]
)
def test_a_wrong_value_is_one_line_that_names_it(key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(**{key: value})
    line = str(caught.value)
    assert "\n" not in line
    assert key.split("_")[0].rstrip("s") in line or str(value) in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clip_grad_norm", {"max_norm": 1, "norm_type": 2}),
        ("eval_step", 0),
        ("stopping_step", 0),
        ("topk", 5),
        ("metrics", "Hit"),
        ("shuffle", 0),
        ("learner", "AdamW"),
        ("user_inter_num_interval", "[5,inf);(0,3]"),
        ("val_interval", {"rating": "[3,inf)"}),
        ("val_interval", {"user_id": ["1", "2"]}),
        ("load_col", None),
        ("save_dataset", False),
        ("eval_args", {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "pop50"}),
        ("hidden_dropout_prob", 0),
    ],
)
def test_right_values_pass(key: str, value: Any) -> None:
    assert make(**{key: value})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("SASRecc", "did you mean 'SASRec'"),
        ("zzz", "is unknown: use a model of RecBole"),
        ("KGAT", "is a knowledge-aware model"),
        ("XGBoost", "is a decision tree model"),
        ("LightGBM", "is a decision tree model"),
        ("RecVAE", "is trained by RecBole's RecVAETrainer"),
        ("NCL", "is trained by RecBole's NCLTrainer"),
    ],
)
def test_models_that_are_not_trained_here(model: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"model={model} .*{message}") as caught:
        find_model(model)
    assert "\n" not in str(caught.value)


def test_every_registered_model_is_found_by_its_name() -> None:
    refused = {"RecVAE", "NCL", "RaCT"}
    for name, model in registered_models().items():
        if name not in refused:
            assert find_model(name) is model


def test_model_and_dataset_are_needed() -> None:
    with pytest.raises(UsageError, match="model is missing"):
        DenoisingConfig(None, "tiny")
    with pytest.raises(UsageError, match="dataset is missing"):
        DenoisingConfig("SASRec")
    with pytest.raises(UsageError, match="dataset=some/where is not a name"):
        DenoisingConfig("SASRec", "some/where")
    config = DenoisingConfig(config_dict={"model": "GRU4Rec", "dataset": "ml-100k"})
    assert (config["model"], config["dataset"]) == ("GRU4Rec", "ml-100k")


def test_errors_of_recbole_become_one_line_and_ours_stay() -> None:
    config = make()
    config["eval_args"]["mode"] = {"valid": 5}
    with (
        pytest.raises(UsageError, match=r"data: .* should be a str\.$"),
        refusals_of_recbole("data"),
    ):
        config._set_eval_neg_sample_args("valid")
    with pytest.raises(ZeroDivisionError) as caught, refusals_of_recbole("data"):
        _ = 1 / 0
    assert not raised_by_recbole(caught.value)
    with pytest.raises(UsageError, match="as it was"), refusals_of_recbole("data"):
        raise UsageError("as it was")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (KeyError("foo"), "KeyError: 'foo'"),
        (AssertionError(), "AssertionError"),
        (SystemExit(0), "RecBole does not offer this combination of settings"),
    ],
)
def test_an_error_on_one_line(error: BaseException, line: str) -> None:
    assert in_one_line(error) == line


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"n_layers": 1}, "n_layers=1 is out of range: model=FEARec needs at least 2"),
        ({"MAX_ITEM_LIST_LENGTH": 7}, "MAX_ITEM_LIST_LENGTH=7 is odd: model=FEARec"),
        ({"MAX_ITEM_LIST_LENGTH": 1}, "MAX_ITEM_LIST_LENGTH=1 is odd: model=FEARec"),
    ],
)
def test_sizes_that_fearec_does_not_take(keys: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        DenoisingConfig("FEARec", "ml-100k", config_dict=keys)
    DenoisingConfig("SASRec", "ml-100k", config_dict=keys)
