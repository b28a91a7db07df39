"""Going on from a checkpoint gives what an uninterrupted training gives, bit for bit."""

from __future__ import annotations

import copy
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recbole_atjt import DenoisingTrainer, TrainingError, UsageError
from recbole_atjt.checkpoint.file import _checksum, load_checkpoint, save_checkpoint
from recbole_atjt.checkpoint.model import load_model
from recbole_atjt.weighting.channel import NoiseChannel
from recbole_atjt.weighting.met_clicks import Asked, MetClicks
from tests.models import data_path
from tests.runs import LEAVE_ONE_OUT, Rising, assemble, fit
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
    assert rest.train_loss_dict == whole.train_loss_dict
    assert rest.progress == whole.progress
    assert rest.history == whole.history
    assert rest.warnings == whole.warnings
    assert half.train_loss_dict.keys() < whole.train_loss_dict.keys()
    for key, value in whole.bare_model.state_dict().items():
        assert torch.equal(rest.bare_model.state_dict()[key], value), key
    if whole.weighting is not None:
        for key, value in whole.weighting.state_dict().items():
            assert torch.equal(rest.weighting.state_dict()[key], value), key
    assert rest.best_valid_result == whole.best_valid_result
    assert rest.best_epoch == whole.best_epoch == 3


def test_a_resumed_training_begins_again_where_an_unbroken_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training begins again after the third epoch; it is broken off before, there, and later."""
    end = NoiseChannel.end_epoch

    def end_epoch(self: NoiseChannel, epoch: int) -> None:
        end(self, epoch)
        self.mixture.settled.begins_again = epoch == 2

    monkeypatch.setattr(NoiseChannel, "end_epoch", end_epoch)
    changes = {"weighting": "channel", **UNI10}
    whole = fit(4, **changes)
    assert (whole.start_epoch, whole.epochs, len(whole.train_loss_dict)) == (3, 7, 7)
    for last in (1, 2, 4):
        path = broken_off_after(last, **changes)
        rest = fit(4, resume=path, **changes)
        assert (rest.start_epoch, rest.epochs) == (3 if last < 3 else last + 1, 7)
        assert rest.train_loss_dict == whole.train_loss_dict
        assert rest.progress == whole.progress
        assert rest.best_epoch == whole.best_epoch
        for key, value in whole.bare_model.state_dict().items():
            assert torch.equal(rest.bare_model.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("weighting", "loss_type"),
    [("atjt", "BCE"), ("atjt", "BPR"), ("atjt", "CE"), ("channel", "BCE"), ("channel", "BPR")],
)
def test_what_neighbours_told_at_the_beginning_is_kept(
    weighting: str, loss_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"weighting": weighting, "atjt_evidence": "likelihood", **UNI10}
    changes["loss_type"] = loss_type
    if loss_type != "CE":
        changes.update(NEGATIVES)

    def told(self: MetClicks, asked: Asked) -> Tensor:
        return torch.full((self._n_items,), 0.3)

    monkeypatch.setattr(MetClicks, "noise_of_items", told)
    whole, half = fit(4, **changes), fit(2, **changes)
    assert whole.epochs == 4
    assert 0 < whole.history[0]["weighted_share"] < 0.31
    assert whole.history[0]["mean_weight"] < 1
    monkeypatch.setattr(MetClicks, "noise_of_items", lambda *_: pytest.fail("asked again"))
    rest = fit(4, resume=half.saved_model_file, **changes)
    assert rest.history == whole.history
    assert rest.progress == whole.progress
    for key, value in whole.bare_model.state_dict().items():
        assert torch.equal(rest.bare_model.state_dict()[key], value), key


def broken_off_after(last: int, **changes: Any) -> str:
    """Train four epochs, but be broken off in the one after ``last``; return the last state."""
    config, (train_data, valid_data, _), model = assemble("SASRec", epochs=4, **changes)
    trainer = Rising(config, model)
    trainer.last_model_file = str(Path(config["checkpoint_dir"]) / f"{last}.last.safetensors")
    save = trainer._save

    def break_off(path: str, state: Any, *others: Any) -> None:
        save(path, state, *others)
        if path == trainer.last_model_file and state.epoch == last:
            raise KeyboardInterrupt

    trainer._save = break_off
    with suppress(KeyboardInterrupt):
        trainer.fit(train_data, valid_data, verbose=False)
    return str(trainer.last_model_file)


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
    assert again.train_loss_dict == trainer.train_loss_dict
    assert again.best_epoch == 0


def test_a_finished_training_stays_as_it_is() -> None:
    done = fit(2, weighting="atjt")
    again = fit(2, resume=done.saved_model_file, weighting="atjt")
    assert again.train_loss_dict == done.train_loss_dict
    assert again.start_epoch == 2
    for key, value in done.bare_model.state_dict().items():
        assert torch.equal(again.bare_model.state_dict()[key], value), key


def resume(path: str | Path, model: str = "SASRec", **changes: Any) -> None:
    config, (train_data, _, _), built = assemble(model, **{"weighting": "atjt", **changes})
    DenoisingTrainer(config, built).resume_checkpoint(path, train_data)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = str(tmp_path_factory.mktemp("checkpoint"))
    return Path(fit(1, weighting="atjt", checkpoint_dir=folder).saved_model_file)


#: What a resumed run may not have otherwise, and what the line says of it.
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"model": "GRU4Rec"}, "is of model=SASRec, this run is model=GRU4Rec"),
    ({"weighting": "none"}, "is of weighting=atjt, this run is weighting=none"),
    ({"hidden_size": 4}, "trained with hidden_size=8, this run has hidden_size=4"),
    ({"atjt_groups": 3}, "trained with atjt_groups=2, this run has atjt_groups=3"),
    ({"atjt_recognizer_embedding_size": 4}, "this run has atjt_recognizer_embedding_size=4"),
    ({"learner": "sgd"}, "trained with learner=adam, this run has learner=sgd"),
    ({"learning_rate": 0.5}, r"learning_rate=0\.01, this run has learning_rate=0\.5"),
    ({"seed": 8}, "seed=7, this run has seed=8"),
    ({"valid_metric": "Hit@5"}, "valid_metric=NDCG@10, this run has valid_metric=Hit@5"),
    ({"train_batch_size": 32}, "train_batch_size=64, this run has train_batch_size=32"),
    ({"MAX_ITEM_LIST_LENGTH": 9}, "MAX_ITEM_LIST_LENGTH=10, this run has MAX_ITEM_LIST_LENGTH=9"),
    ({"loss_type": "BPR", **NEGATIVES}, "loss_type=CE, this run has loss_type=BPR"),
    ({"revised_validation": True}, "revised_validation=False, this run has revised_valid"),
    (
        {"eval_args": {**LEAVE_ONE_OUT, "split": {"LS": "valid_only"}, "mode": "full"}},
        "eval_args split LS=valid_and_test, this run has eval_args split LS=valid_only",
    ),
    ({"clean_eval": {"timestamp": "[0,inf)"}}, r"clean_eval=None, this run has clean_eval=\{"),
    ({"user_inter_num_interval": "[3,inf)"}, r"user_inter_num_interval=\[0,inf\), this run has"),
]


@pytest.mark.parametrize(("changes", "message"), OTHERS, ids=lambda each: str(each)[:40])
def test_a_checkpoint_of_another_run_is_refused(
    checkpoint: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resume(checkpoint, **changes)
    assert "\n" not in str(caught.value)


def test_what_changes_no_result_may_change(checkpoint: Path) -> None:
    resume(checkpoint, epochs=9, show_progress=False, eval_batch_size=17, channel_share=0.4)


def other_data(folder: Path, change: Any) -> dict[str, Any]:
    """Copy the tiny dataset with its interactions changed; return the setting that names it."""
    shutil.copytree(Path(data_path()) / "tiny", folder / "tiny")
    file = folder / "tiny" / "tiny.inter"
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([head, *change(rows), ""]), encoding="utf-8")
    return {"data_path": str(folder)}


def test_the_same_items_in_another_order_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    changes = other_data(tmp_path, lambda rows: rows[::-1])
    config, (_, valid_data, _), built = assemble("SASRec", weighting="atjt", **changes)
    with pytest.raises(UsageError, match=r"with tiny, in which item_id numbers others: its digest"):
        DenoisingTrainer(config, built).evaluate(valid_data, model_file=str(checkpoint))
    with pytest.raises(UsageError, match=r"was trained on other interactions of tiny"):
        resume(checkpoint, **changes)


def test_other_interactions_of_the_same_items_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    def swapped(rows: list[str]) -> list[str]:
        """Exchange the items of a user's last two clicks before those held out."""
        cells = [row.split("\t") for row in rows]
        first = cells[0][0]
        own = sorted((c for c in cells if c[0] == first), key=lambda cell: float(cell[3]))
        own[1][1], own[2][1] = own[2][1], own[1][1]
        return ["\t".join(cell) for cell in cells]

    with pytest.raises(UsageError, match=r"on other interactions of tiny: their digest is \w{16} "):
        resume(checkpoint, **other_data(tmp_path, swapped))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "eval_args": {
                    "split": {"RS": [8, 1, 1]},
                    "order": "TO",
                    "group_by": "user",
                    "mode": "full",
                }
            },
            "eval_args split LS=valid_and_test",
        ),
        ({"loss_type": "BPR", **NEGATIVES}, "loss_type=CE, this run has loss_type=BPR"),
        ({"user_inter_num_interval": "[3,inf)"}, r"user_inter_num_interval=\[0,inf\), this run"),
    ],
)
def test_a_checkpoint_is_not_evaluated_on_what_is_foreign(
    checkpoint: Path, changes: dict[str, Any], message: str
) -> None:
    config, (_, _, test_data), built = assemble("SASRec", **{"weighting": "none", **changes})
    with pytest.raises(UsageError, match=message):
        DenoisingTrainer(config, built).evaluate(test_data, model_file=str(checkpoint))


def test_another_evaluation_of_a_checkpoint_is_said(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, (_, _, test_data), built = assemble(
        "SASRec", weighting="none", topk=[3], valid_metric="NDCG@3", learning_rate=0.5
    )
    found = DenoisingTrainer(config, built).evaluate(test_data, model_file=str(checkpoint))
    assert "ndcg@3" in found
    said = [line for line in caplog.messages if line.startswith("evaluated by")]
    assert [line.split(";")[0] for line in said] == [
        "evaluated by topk=[3]",
        "evaluated by valid_metric=NDCG@3",
    ]


def test_a_model_of_longer_histories_does_not_load_shorter_ones() -> None:
    path = fit_gru()
    _, _, built = assemble("GRU4Rec", weighting="none", MAX_ITEM_LIST_LENGTH=5)
    with pytest.raises(UsageError, match="made with MAX_ITEM_LIST_LENGTH=10, this GRU4Rec has"):
        load_model(built, load_checkpoint(path))


def fit_gru() -> str:
    config, (train_data, _, _), model = assemble("GRU4Rec", weighting="none", epochs=1)
    trainer = DenoisingTrainer(config, model)
    trainer.fit(train_data, verbose=False)
    return trainer.saved_model_file


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


def forged(path: Path, change: Any) -> str:
    """Write a checkpoint with a valid checksum and something else in it."""
    found = load_checkpoint(path)
    parts = {
        "model_state": dict(found.model_state),
        "meta": copy.deepcopy(found.meta),
        "optimizers": copy.deepcopy(found.optimizers),
        "tensors": dict(found.tensors),
    }
    change(parts)
    save_checkpoint("forged.safetensors", parts.pop("model_state"), **parts)
    return "forged.safetensors"


def without(*names: str) -> Any:
    def change(parts: dict[str, Any]) -> None:
        inner = parts
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]

    return change


def instead(value: Any, *names: str) -> Any:
    def change(parts: dict[str, Any]) -> None:
        inner = parts
        for name in names[:-1]:
            inner = inner[name]
        inner[names[-1]] = value

    return change


FORGED = [
    *(
        without("meta", name)
        for name in ("config", "epoch", "cur_step", "best_valid_score", "data")
    ),
    *(instead(value, "meta", "config") for value in (None, 5, [], {"model": []})),
    *(without("meta", "rng", name) for name in ("torch", "numpy", "python", "generators")),
    *(instead(value, "meta", "rng") for value in (None, 5, {}, [1])),
    instead(torch.zeros(3), "meta", "rng", "torch"),
    instead("x", "meta", "epoch"),
    instead({"state": {}, "param_groups": []}, "optimizers", "trainer", "recommender"),
    instead(5, "optimizers", "trainer"),
    instead({}, "tensors"),
    instead(5, "meta", "built_for"),
    instead({"tokens": 5, "history": 10}, "meta", "built_for"),
    instead(5, "meta", "other"),
    lambda parts: parts["meta"].clear(),
]


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_a_forged_checkpoint_is_one_line(checkpoint: Path, number: int) -> None:
    path = forged(checkpoint, FORGED[number])
    config, (train_data, valid_data, _), built = assemble("SASRec", weighting="atjt")
    trainer = DenoisingTrainer(config, built)
    with pytest.raises(UsageError) as caught:
        trainer.resume_checkpoint(path, train_data)
    assert "\n" not in str(caught.value)
    with suppress(UsageError):  # what an evaluation does not read may be missing
        trainer.evaluate(valid_data, model_file=path)


def test_a_checkpoint_from_before_shares_settled_is_one_line() -> None:
    def older(parts: dict[str, Any]) -> None:
        kept = {name: v for name, v in parts["tensors"].items() if "settled" not in name}
        assert len(kept) == len(parts["tensors"]) - 4
        parts["tensors"] = kept

    path = forged(Path(fit(1, weighting="channel").saved_model_file), older)
    config, (train_data, _, _), built = assemble("SASRec", weighting="channel")
    message = r"^forged\.safetensors has not the form of a checkpoint [^\n]*mixture\.settled[^\n]*$"
    with pytest.raises(UsageError, match=message):
        DenoisingTrainer(config, built).resume_checkpoint(path, train_data)


@pytest.mark.parametrize("header", ["[]", "5", "{}", '{"meta": 5, "optimizers": {}}', "[" * 9000])
def test_a_forged_header_is_one_line(header: str) -> None:
    store = {"model.weight": torch.ones(2)}
    metadata = {"recbole_atjt": header, "version": "1", "checksum": _checksum(header, store)}
    save_file(store, "forged.safetensors", metadata=metadata)
    with pytest.raises(UsageError, match=r"forged\.safetensors has not the form of a checkpoint"):
        load_checkpoint("forged.safetensors")
