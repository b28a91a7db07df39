"""Going on from a checkpoint gives what an uninterrupted training gives, bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_atjt import DenoisingTrainer, TrainingError, UsageError
from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint
from tests.runs import LEAVE_ONE_OUT, assemble, fit
from tests.tiers import fast

NEGATIVES = {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}
RUNS: dict[str, dict[str, Any]] = {
    "none": {"weighting": "none"},
    "none BPR": {"weighting": "none", "loss_type": "BPR", **NEGATIVES},
    "atjt": {"weighting": "atjt", "atjt_joint_gradient": True},
    "atjt BCE": {"weighting": "atjt", "loss_type": "BCE", "atjt_groups": 3, **NEGATIVES},
    "atjt paper": {"weighting": "atjt", "atjt_schedule": "paper", "atjt_phase_epochs": 2},
    "wat": {"weighting": "wat"},
    "dnr": {"weighting": "dnr", "dnr_epochs": 1},
    "frequency": {"weighting": "frequency"},
    "t_ce BCE": {"weighting": "t_ce", "t_ce_num_gradual": 9, "loss_type": "BCE", **NEGATIVES},
    "r_ce BPR": {"weighting": "r_ce", "loss_type": "BPR", **NEGATIVES},
    "autodenoise_h": {"weighting": "autodenoise_h", "autodenoise_learning_rate": 0.01},
    "autodenoise_s BPR": {"weighting": "autodenoise_s", "loss_type": "BPR", **NEGATIVES},
}
UNI10 = {"eval_args": {**LEAVE_ONE_OUT, "mode": "uni10"}}


@pytest.mark.parametrize("name", fast(RUNS, ["none"]))
def test_two_epochs_and_two_more_are_four(name: str) -> None:
    changes = {**RUNS[name], **UNI10}
    whole = fit(4, **changes)
    half = fit(2, **changes)
    rest = fit(4, resume=half.saved_model_file, **changes)
    assert rest.start_epoch == 2
    assert {**half.train_loss_dict, **rest.train_loss_dict} == whole.train_loss_dict
    for key, value in whole.bare_model.state_dict().items():
        assert torch.equal(rest.bare_model.state_dict()[key], value), key
    if whole.weighting is not None:
        for key, value in whole.weighting.state_dict().items():
            assert torch.equal(rest.weighting.state_dict()[key], value), key
    assert rest.best_valid_result == whole.best_valid_result
    assert rest.best_epoch == whole.best_epoch == 3


def test_without_validation_every_epoch_is_kept() -> None:
    whole, half = (fit(epochs, eval_step=0, weighting="atjt") for epochs in (3, 2))
    rest = fit(3, resume=half.saved_model_file, eval_step=0, weighting="atjt")
    assert rest.train_loss_dict[2] == whole.train_loss_dict[2]


def test_early_stopping_goes_on_counting() -> None:
    def falling(trainer: DenoisingTrainer) -> None:
        plain = trainer._valid_epoch
        trainer._valid_epoch = lambda *a, **k: (-float(trainer.epoch), plain(*a, **k)[1])

    config, (train_data, valid_data, _), model = assemble("SASRec", epochs=9, stopping_step=2)
    trainer = DenoisingTrainer(config, model)
    falling(trainer)
    trainer.fit(train_data, valid_data, verbose=False)
    assert len(trainer.train_loss_dict) == 4  # the best is epoch 0; three without a better one
    config, (train_data, valid_data, _), model = assemble("SASRec", epochs=9, stopping_step=2)
    again = DenoisingTrainer(config, model)
    again.resume_checkpoint(trainer.saved_model_file, train_data)
    assert (again.start_epoch, again.cur_step, again.best_valid_score) == (1, 0, 0.0)
    falling(again)
    again.fit(train_data, valid_data, verbose=False)
    assert again.train_loss_dict == {k: v for k, v in trainer.train_loss_dict.items() if k}
    assert again.best_epoch == 0


def test_a_finished_training_stays_as_it_is() -> None:
    done = fit(2, weighting="atjt")
    again = fit(2, resume=done.saved_model_file, weighting="atjt")
    assert again.train_loss_dict == {}
    for key, value in done.bare_model.state_dict().items():
        assert torch.equal(again.bare_model.state_dict()[key], value), key


def resume(path: str | Path, model: str = "SASRec", **changes: Any) -> None:
    config, (train_data, _, _), built = assemble(model, **{"weighting": "atjt", **changes})
    DenoisingTrainer(config, built).resume_checkpoint(path, train_data)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = str(tmp_path_factory.mktemp("checkpoint"))
    return Path(fit(1, weighting="atjt", checkpoint_dir=folder).saved_model_file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "GRU4Rec"}, "is of model=SASRec, this run is model=GRU4Rec"),
        ({"weighting": "none"}, "is of weighting=atjt, this run is weighting=none"),
        ({"hidden_size": 4}, "does not fit this SASRec: 'item_embedding.weight' is"),
        ({"atjt_groups": 3}, "trained with atjt_groups=2, this run has atjt_groups=3"),
        ({"atjt_recognizer_embedding_size": 4}, "this run has atjt_recognizer_embedding_size=4"),
        ({"learner": "sgd"}, "trained with learner=adam, this run has learner=sgd"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    checkpoint: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resume(checkpoint, **changes)
    assert "\n" not in str(caught.value)


def test_a_missing_damaged_or_foreign_checkpoint_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.safetensors"):
        resume("nowhere.safetensors")
    damaged = bytearray(checkpoint.read_bytes())
    damaged[-1] ^= 255
    Path("damaged.safetensors").write_bytes(damaged)
    with pytest.raises(UsageError, match="damaged"):
        resume("damaged.safetensors")
    torch.save({"state_dict": {}}, "recbole.pth")
    with pytest.raises(UsageError, match="recbole_atjt has written"):
        resume("recbole.pth")


def test_a_model_without_its_training_cannot_be_resumed(checkpoint: Path) -> None:
    found = load_checkpoint(checkpoint)
    meta = {key: found.meta[key] for key in ("model", "dataset", "weighting")}
    save_checkpoint("model.safetensors", found.model_state, meta=copy.deepcopy(meta))
    with pytest.raises(UsageError, match="holds a model, but no training run to resume"):
        resume("model.safetensors")


def test_a_checkpoint_that_cannot_be_written_is_one_line() -> None:
    config, (train_data, _, _), model = assemble("SASRec", weighting="none", epochs=1)
    trainer = DenoisingTrainer(config, model)
    trainer.saved_model_file = "/proc/no/such.safetensors"
    with pytest.raises(TrainingError, match=r"/proc/no"):
        trainer.fit(train_data, verbose=False)
