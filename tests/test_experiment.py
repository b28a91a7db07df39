"""One run from names to result: plain RecBole where nothing is weighted, lists, seeds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import recbole_atjt
from recbole_atjt import UsageError, assembly
from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.experiment import Interrupted
from recbole_atjt.report import log
from tests.runs import LEAVE_ONE_OUT, assemble, settings, train, train_with_recbole
from tests.tiers import fast

UNI10 = {"eval_args": {**LEAVE_ONE_OUT, "mode": "uni10"}}
#: Draws random numbers while data are prepared, so that the second seeding shows.
RANDOM = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user"}
ONE_NEGATIVE = {
    "train_neg_sample_args": {
        "distribution": "uniform",
        "sample_num": 1,
        "alpha": 1.0,
        "dynamic": False,
        "candidate_num": 0,
    }
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "CE": ("SASRec", {"train_neg_sample_args": None}),
    "BPR": ("SASRec", {"loss_type": "BPR", **ONE_NEGATIVE}),
    "labels": ("DIN", {**ONE_NEGATIVE, **UNI10}),
    "BERT4Rec": ("BERT4Rec", {"train_neg_sample_args": None}),
    "general": ("BPR", {**ONE_NEGATIVE, "eval_args": {**RANDOM, "mode": "full"}}),
}


@pytest.mark.parametrize("name", fast(PLAIN))
def test_without_weighting_it_is_recbole_bit_for_bit(name: str) -> None:
    model, changes = PLAIN[name]
    theirs = train_with_recbole(model, settings(epochs=3, **changes))
    run, trainer = train(model, "none", epochs=3, **changes)
    assert trainer.train_loss_dict == theirs.losses
    assert trainer.final.keys() == theirs.final.keys()
    for key, value in theirs.final.items():
        assert torch.equal(trainer.final[key], value), key
    assert run.valid == theirs.valid
    assert run.test == theirs.test
    assert run.weights is None
    assert run.parameters["recogniser"] == 0


def test_value_metrics_change_nothing_of_plain_training() -> None:
    one, _ = train("SASRec", "none")
    other, _ = train("SASRec", "none", metrics=["AUC", "Hit", "NDCG"])
    assert "auc" in other.test
    assert {key: other.test[key] for key in one.test} == one.test


@pytest.mark.parametrize("weighting", fast(["none", "atjt", "wat", "dnr"], ["atjt"]))
def test_a_seed_gives_the_same_result_again(weighting: str) -> None:
    (one, first), (two, second) = (train("SASRec", weighting, epochs=3) for _ in range(2))
    assert first.train_loss_dict == second.train_loss_dict
    assert (one.valid, one.test, one.best_epoch) == (two.valid, two.test, two.best_epoch)
    assert one.weights == two.weights


def test_seeds_differ() -> None:
    (_, first), (_, second) = (train("SASRec", "atjt", seed=seed) for seed in (1, 2))
    assert first.train_loss_dict != second.train_loss_dict


def test_atjt_trains_another_model_than_none() -> None:
    (_, plain), (_, weighted) = (train("SASRec", name) for name in ("none", "atjt"))
    assert plain.final.keys() == weighted.final.keys()
    assert any(not torch.equal(plain.final[key], weighted.final[key]) for key in plain.final)


def test_lists_give_a_run_for_each_of_their_entries() -> None:
    result = recbole_atjt.run(
        ["SASRec", "GRU4Rec"],
        "tiny",
        ["none", "atjt"],
        [1, 2],
        config_dict=settings(epochs=1),
        output_dir="out",
    )
    cells = [(run.model, run.weighting, run.seed) for run in result.runs]
    assert cells == [
        (model, weighting, seed)
        for model in ("SASRec", "GRU4Rec")
        for weighting in ("none", "atjt")
        for seed in (1, 2)
    ]
    assert len({run.checkpoint for run in result.runs}) == 8
    assert all(Path(run.checkpoint).is_file() for run in result.runs)


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="seed=1 is listed twice"):
        recbole_atjt.run("SASRec", "tiny", "none", [1, 1], config_dict=settings())


def test_wrong_settings_of_a_later_run_are_found_before_the_first_is_trained() -> None:
    keys = settings(atjt_groups=1)
    with pytest.raises(UsageError, match="atjt_groups=1"):
        recbole_atjt.run("SASRec", "tiny", ["none", "atjt"], config_dict=keys, output_dir="out")
    assert not Path("out").exists()


def test_the_folder_names_model_and_dataset_by_default() -> None:
    result = recbole_atjt.run("SASRec", "tiny", "none", config_dict=settings(epochs=1))
    assert result.output_dir.parent == Path("runs")
    assert result.output_dir.name.startswith("SASRec-tiny-")
    assert result.path.is_file()


def test_a_model_class_runs_as_its_name_does() -> None:
    named, _ = train("SASRec", "atjt")
    given, _ = train(DenoisingConfig("SASRec", "tiny", None, settings()).model_class, "atjt")
    assert (named.model, named.valid) == (given.model, given.valid)


@pytest.mark.parametrize(
    ("split", "valid", "test"),
    [("valid_and_test", True, True), ("valid_only", True, False), ("test_only", False, True)],
)
def test_a_split_may_leave_out_validation_or_test(split: str, valid: bool, test: bool) -> None:
    changes = {"eval_args": {**LEAVE_ONE_OUT, "split": {"LS": split}, "mode": "full"}}
    run, _ = train("SASRec", "atjt", **changes)
    assert (bool(run.valid), bool(run.test)) == (valid, test)
    assert Path(run.checkpoint).is_file()
    assert valid or run.best_epoch == 1  # without validation, the last model


def test_a_checkpoint_predicts_the_same_in_a_fresh_bare_model() -> None:
    run, trainer = train("SASRec", "atjt", epochs=4)
    config, (_, _, test_data), bare = assemble("SASRec", weighting="none")
    checkpoint = load_checkpoint(run.checkpoint)
    bare.load_state_dict(checkpoint.model_state)  # plainly, as RecBole would
    bare.eval()
    trainer.evaluate(test_data, load_best_model=True)
    for batch in test_data:
        interaction = batch[0].to(config["device"])
        assert torch.equal(
            bare.full_sort_predict(interaction), trainer.model.full_sort_predict(interaction)
        )
    fresh = recbole_atjt.DenoisingTrainer(config, bare)
    assert dict(fresh.evaluate(test_data, load_best_model=False)) == run.test


def test_s3rec_pretrains_by_itself_once_for_the_same_settings() -> None:
    changes = {"pretrain_epochs": 1, "epochs": 1}
    first, _ = train("S3Rec", "none", "out", **changes)
    kept = Path("out/checkpoints/S3Rec-tiny-7-pretrain.safetensors")
    written = kept.stat().st_mtime_ns
    train("S3Rec", "atjt", "out", **changes)
    assert kept.stat().st_mtime_ns == written
    other, _ = train("S3Rec", "frequency", "out", **changes, hidden_size=4)
    assert kept.stat().st_mtime_ns > written
    assert other.parameters["recommender"] < first.parameters["recommender"]


def test_ctrl_c_while_preparing_keeps_the_runs_that_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, calls = assembly.prepare_loaders, []

    def interrupt_the_second(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return prepare(*args)

    monkeypatch.setattr(assembly, "prepare_loaders", interrupt_the_second)
    keys = settings(epochs=1)
    with pytest.raises(Interrupted, match=r"prepared: no model was saved; 1 finished in .*json"):
        recbole_atjt.run("SASRec", "tiny", ["none", "atjt"], config_dict=keys, output_dir="out")
    assert Path("out/result.json").is_file()


def test_each_run_has_a_log_and_a_tensorboard_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(log, "_OURS", [])
    keys = settings(epochs=1)
    recbole_atjt.run("SASRec", "tiny", ["none", "atjt"], config_dict=keys, output_dir="out")
    log.end_log()
    for name, recognises in (("SASRec-tiny-none-7", False), ("SASRec-tiny-atjt-7", True)):
        text = Path(f"out/logs/{name}.log").read_text(encoding="utf-8")
        assert ("recognizer loss" in text) is recognises
        assert list(Path(f"out/tensorboard/{name}").glob("events.*"))
    assert not Path("log").exists()
    assert not Path("log_tensorboard").exists()


def test_logging_that_the_caller_has_set_up_is_left_alone() -> None:
    handlers = list(logging.getLogger().handlers)
    assert handlers, "pytest has some"
    train("SASRec", "none", epochs=1)
    assert logging.getLogger().handlers == handlers
    assert not list(Path().rglob("*.log"))


def test_a_model_pretrained_on_items_of_other_numbers_is_refused() -> None:
    train("S3Rec", "none", "out", pretrain_epochs=1, epochs=1)
    kept = Path("out/checkpoints/S3Rec-tiny-7-pretrain.safetensors")
    config, _, _ = assemble("S3Rec", pre_model_path=str(kept))
    found = load_checkpoint(kept)
    other = {**found.meta["built_for"], "tokens": {"item_id": "of another file"}}
    save_checkpoint(kept, found.model_state, meta={**found.meta, "built_for": other})
    with pytest.raises(UsageError, match=r"in which \w+ numbers others"):
        recbole_atjt.assemble(config)
