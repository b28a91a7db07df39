"""A training that names a strategy has it, or is refused; the log says which one is active."""

from __future__ import annotations

import sys
from unittest import mock

import pytest
from recbole.config import Config
from recbole.trainer import Trainer

import recbole_atjt
from recbole_atjt import DenoisingTrainer, UsageError
from recbole_atjt.cli import main
from tests.runs import assemble, settings


def test_a_bare_model_under_a_strategy_is_refused() -> None:
    config, (train_data, _, _), model = assemble("SASRec", weighting="atjt")
    trainer = DenoisingTrainer(config, model.recommender)
    with pytest.raises(UsageError, match="weighting=atjt, but the model is not wrapped: give Den"):
        trainer.fit(train_data)


def test_a_bare_model_is_evaluated_as_before() -> None:
    config, (_, _, test_data), model = assemble("SASRec", weighting="atjt")
    trainer = DenoisingTrainer(config, model.recommender)
    assert "ndcg@10" in trainer.evaluate(test_data, load_best_model=False)


@pytest.mark.parametrize("weighting", ["atjt", "frequency"])
def test_recboles_trainer_is_refused_for_a_weighted_model(weighting: str) -> None:
    config, _, model = assemble("SASRec", weighting=weighting)
    with pytest.raises(UsageError, match="Trainer trains no recogniser: train a DenoisingRec"):
        Trainer(config, model)


def test_recboles_trainer_trains_what_is_not_weighted() -> None:
    config, (train_data, _, _), model = assemble("SASRec", weighting="none", epochs=1)
    wrapped = recbole_atjt.DenoisingRecommender(model, config, train_data._dataset)
    Trainer(config, wrapped).fit(train_data, saved=False, verbose=False)


def test_a_misspelt_key_of_ours_in_recboles_config_is_refused() -> None:
    keys = {**settings(train_neg_sample_args=None), "weigthing": "atjt"}
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model="SASRec", dataset="tiny", config_dict=keys)
    with pytest.raises(UsageError, match="key 'weigthing' is unknown, did you mean 'weighting'"):
        recbole_atjt.assemble(config)


def test_keys_of_ones_own_in_recboles_config_are_let_through() -> None:
    keys = {**settings(train_neg_sample_args=None), "my_weight": 1, "group": "a"}
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model="SASRec", dataset="tiny", config_dict=keys)
    recbole_atjt.assemble(config)


@pytest.mark.parametrize("key", ["config_file", "config_files"])
def test_config_files_in_the_wrong_place_are_refused(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {**settings(), key: "other.yaml"}
    with pytest.raises(UsageError, match=f"key '{key}' is none of a run: name files by"):
        recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys)
    assert main(["--model=SASRec", "--config_file=other.yaml"]) == 2
    assert "name files by --config_files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("weighting", "line"),
    [("none", "weighting: none, plain training"), ("channel", "weighting: channel")],
)
def test_the_log_names_the_active_strategy(
    weighting: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recbole_atjt.run("SASRec", "tiny", weighting, config_dict=settings(epochs=1), output_dir="out")
    assert caplog.messages.count(line) == 1
