"""The trainer: two optimisers, phases, what it notes and says, and RecBole's own objects."""

from __future__ import annotations

import copy
import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_seed
from torch import Tensor

from recbole_atjt import DenoisingRecommender, DenoisingTrainer, TrainingError, UsageError
from recbole_atjt.training.optimizer import JointOptimizer
from tests.models import data_path
from tests.runs import assemble, settings, train
from tests.tiers import fast

ROOT = Path(__file__).resolve().parent.parent


def prepared(model: str = "SASRec", **changes: Any) -> tuple[Any, Any, Any]:
    """Return a trainer, its training and its validation data."""
    config, (train_data, valid_data, _), built = assemble(model, **{"weighting": "atjt", **changes})
    return DenoisingTrainer(config, built), train_data, valid_data


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(module.state_dict()))


def changed(before: dict[str, Tensor], module: torch.nn.Module) -> bool:
    return any(not torch.equal(before[k], value) for k, value in module.state_dict().items())


@pytest.mark.parametrize("loss_type", fast(["CE", "BPR", "BCE"]))
def test_a_step_updates_both_networks(loss_type: str) -> None:
    trainer, train_data, _ = prepared(
        loss_type=loss_type,
        **({} if loss_type == "CE" else {"train_neg_sample_args": {"distribution": "uniform"}}),
    )
    assert isinstance(trainer.optimizer, JointOptimizer)
    networks = [trainer.bare_model, *trainer.weighting.recognizers]
    before = [state_of(network) for network in networks]
    trainer.fit(train_data, verbose=False)
    assert all(changed(state, network) for state, network in zip(before, networks))


def test_the_recommender_has_recboles_optimiser_and_the_recogniser_adagrad() -> None:
    trainer, _, _ = prepared(learner="sgd", atjt_recognizer_learning_rate=0.02)
    own, other = trainer.optimizer.recommender, trainer.optimizer.weighting
    assert isinstance(own, torch.optim.SGD)
    assert isinstance(other, torch.optim.Adagrad)
    assert {id(p) for g in own.param_groups for p in g["params"]} == {
        id(p) for p in trainer.bare_model.parameters()
    }
    assert {id(p) for g in other.param_groups for p in g["params"]} == {
        id(p) for p in trainer.weighting.parameters()
    }
    assert other.param_groups[0]["lr"] == 0.02


def test_the_joint_optimiser_is_both(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    joint = JointOptimizer(torch.optim.SGD([first], lr=0.1), torch.optim.Adagrad([second], lr=0.5))
    (first.sum() * 2 + second.sum() * 3).backward()
    joint.step()
    assert first.tolist() == pytest.approx([0.8, 0.8])
    assert second.tolist() == pytest.approx([0.5, 0.5])  # Adagrad's first step is its rate
    assert len(joint.param_groups) == 2
    joint.zero_grad()
    assert first.grad is None
    assert second.grad is None
    again = JointOptimizer(torch.optim.SGD([first], lr=9.0), torch.optim.Adagrad([second], lr=9.0))
    again.load_state_dict(joint.state_dict())
    assert [group["lr"] for group in again.param_groups] == [0.1, 0.5]
    assert again.weighting.state[second]["sum"].tolist() == [9.0, 9.0]


def test_clipping_touches_the_recommender_only() -> None:
    trainer, train_data, _ = prepared(clip_grad_norm={"max_norm": 1e-9}, learner="sgd")
    recommender = state_of(trainer.bare_model)
    recognizers = state_of(trainer.weighting.recognizers)
    trainer.fit(train_data, verbose=False)
    for name, value in trainer.bare_model.state_dict().items():
        assert torch.allclose(value, recommender[name], atol=1e-8), name
    assert changed(recognizers, trainer.weighting.recognizers)


@pytest.mark.slow
def test_a_batch_of_one_sequence_trains() -> None:
    """There are fewer other sequences than batches in one phase: some go without."""
    trainer, train_data, _ = prepared(train_batch_size=1, epochs=1)
    trainer.fit(train_data, verbose=False)
    assert trainer.history[0]["recognizer_loss"] > 0.0


def test_dnr_recognisers_stay_as_they_were_prepared() -> None:
    trainer, train_data, valid_data = prepared(weighting="dnr", dnr_epochs=1)
    fresh = state_of(trainer.weighting.recognizers)
    trainer.weighting.prepare(trainer.loader_of(train_data).other_sequences)
    ready = state_of(trainer.weighting.recognizers)
    assert any(not torch.equal(fresh[name], ready[name]) for name in fresh)
    trainer.weighting.prepare = lambda sequences: None  # done above
    trainer.fit(train_data, valid_data, verbose=False)
    assert not changed(ready, trainer.weighting.recognizers)
    assert not isinstance(trainer.optimizer, JointOptimizer)


def test_wat_learns_from_l_r_alone() -> None:
    trainer, train_data, _ = prepared(weighting="wat")
    before = state_of(trainer.weighting.recognizers)
    trainer.fit(train_data, verbose=False)
    assert changed(before, trainer.weighting.recognizers)
    assert all("recognizer_loss" not in figures for figures in trainer.history)


def test_the_papers_schedule_trains_one_group_in_an_epoch() -> None:
    trainer, train_data, _ = prepared(atjt_schedule="paper", atjt_groups=3, epochs=1)
    before = [state_of(recognizer) for recognizer in trainer.weighting.recognizers]
    trainer.fit(train_data, verbose=False)
    recognizers = trainer.weighting.recognizers
    assert [changed(s, r) for s, r in zip(before, recognizers)] == [True, False, False]


def test_each_epoch_has_a_line_and_figures(caplog: pytest.LogCaptureFixture) -> None:
    trainer, train_data, valid_data = prepared(epochs=2)
    with caplog.at_level(logging.INFO):
        trainer.fit(train_data, valid_data)
    lines = [r.getMessage() for r in caplog.records if "recognizer loss" in r.getMessage()]
    assert len(lines) == 2
    assert all("train loss" in line and "mean weight" in line for line in lines)
    assert [figures["epoch"] for figures in trainer.history] == [0.0, 1.0]
    for figures, line in zip(trainer.history, lines):
        assert f"{figures['recognizer_loss']:.4f}" in line
        assert f"{figures['mean_weight']:.4f}" in line


def test_figures_go_to_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, train_data, _ = prepared(epochs=1)
    written: dict[str, float] = {}
    monkeypatch.setattr(
        trainer.tensorboard, "add_scalar", lambda tag, value, epoch: written.update({tag: value})
    )
    trainer.fit(train_data, verbose=False)
    assert written["Weighting/mean_weight"] == trainer.history[0]["mean_weight"]
    assert written["Weighting/recognizer_loss"] == trainer.history[0]["recognizer_loss"]


@pytest.mark.parametrize(("bias", "warned"), [(-9.0, True), (0.0, False), (9.0, True)])
def test_weights_that_collapse_are_warned_about(bias: float, warned: bool) -> None:
    trainer, train_data, _ = prepared(weighting="dnr", dnr_epochs=1, epochs=1)
    trainer.weighting.prepare = lambda sequences: [
        recognizer.output[-1].linear.bias.data.fill_(bias)
        for recognizer in trainer.weighting.recognizers
    ]
    trainer.fit(train_data, verbose=False)
    assert bool(trainer.warnings) == warned
    if warned:
        assert "epoch 0: the mean weight" in trainer.warnings[0]
        assert "left [0.05, 0.95]" in trainer.warnings[0]


def break_down(trainer: DenoisingTrainer, epoch: int, batch: int) -> None:
    """Make the model's loss not a number in one batch."""
    plain = trainer.bare_model.calculate_loss

    def calculate_loss(interaction: Any) -> Any:
        broken = (trainer.epoch, trainer.batch) == (epoch, batch)
        return plain(interaction) * (float("nan") if broken else 1.0)

    trainer.bare_model.calculate_loss = calculate_loss


@pytest.mark.parametrize("weighting", ["none", "atjt"])
def test_a_loss_that_is_no_number_names_epoch_batch_and_remedy(weighting: str) -> None:
    trainer, train_data, valid_data = prepared(weighting=weighting, epochs=5)
    break_down(trainer, epoch=1, batch=1)
    with pytest.raises(TrainingError) as caught:
        trainer.fit(train_data, valid_data, verbose=False)
    message = str(caught.value)
    assert message.startswith("epoch 1, batch 1: the loss is nan: try a smaller learning_rate")
    assert ("atjt_recognizer_learning_rate" in message) == (weighting == "atjt")
    assert f"the best model (epoch 0) is kept in {trainer.saved_model_file}" in message
    assert "\n" not in message
    del trainer.bare_model.calculate_loss
    assert trainer.evaluate(valid_data, load_best_model=True)  # the good model is still there


def test_before_any_model_is_saved_it_says_so() -> None:
    trainer, train_data, _ = prepared(learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"epoch 0, batch \d: .*no model was saved before"):
        trainer.fit(train_data, verbose=False)


def test_a_recogniser_that_breaks_down_is_named(caplog: pytest.LogCaptureFixture) -> None:
    trainer, train_data, _ = prepared(atjt_recognizer_learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"epoch 0, batch 1: .*not finite.*\(now 1e\+30\)"):
        trainer.fit(train_data, verbose=False)


def test_settings_that_recbole_cannot_train_with_end_in_one_line() -> None:
    trainer, train_data, _ = prepared("SASRecCPR", weighting="none", reranker_CAN_NUM="99")
    with pytest.raises(TrainingError, match="SASRecCPR fails on its first batch: selected index"):
        trainer.fit(train_data, verbose=False)


def test_errors_of_a_foreign_model_keep_their_traceback() -> None:
    trainer, train_data, _ = prepared()
    error = KeyError("mine")

    def broken(interaction: Any) -> Any:
        raise error

    trainer.bare_model.calculate_loss = broken
    with pytest.raises(KeyError) as caught:
        trainer.fit(train_data, verbose=False)
    assert caught.value is error


def test_resuming_needs_the_training_data() -> None:
    trainer, _, _ = prepared()
    with pytest.raises(UsageError, match="needs train_data"):
        trainer.resume_checkpoint("somewhere.safetensors")


@pytest.mark.parametrize("model", fast(["SASRec", "GRU4Rec", "DIN"]))
def test_recboles_own_objects_train_with_atjt(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole's Config, eager dataset, loaders and model give what our lazy ones give."""
    changes: dict[str, Any] = {"weighting": "atjt", "atjt_groups": 3}
    if model == "DIN":
        changes["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    else:
        changes["train_neg_sample_args"] = None
    run, ours = train(model, **changes)
    monkeypatch.setattr(sys, "argv", ["test"])
    keys = settings(**copy.deepcopy(changes), repeatable=True)
    config = Config(model, "tiny", config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    bare = config.model_class(config, train_data._dataset)
    trainer = DenoisingTrainer(config, DenoisingRecommender(bare, config, train_data._dataset))
    trainer.fit(train_data, valid_data, verbose=False)
    assert trainer.train_loss_dict == ours.train_loss_dict
    assert dict(trainer.evaluate(test_data)) == run.test


def test_the_example_of_the_docs_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "docs" / "examples" / "existing_project.py"
    spec = importlib.util.spec_from_file_location("existing_project", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(sys, "argv", ["existing_project.py"])
    keys = settings(epochs=1, load_col={"inter": ["user_id", "item_id", "timestamp"]})
    result = example.main("tiny", **{**keys, "data_path": data_path()})
    assert set(result) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}
    (kept,) = Path("saved").glob("SASRec-*.safetensors")
    from recbole_atjt.checkpoint.file import load_checkpoint

    assert load_checkpoint(kept).meta["weighting"] == "atjt"


def test_the_example_differs_from_plain_recbole_in_what_it_says() -> None:
    text = (ROOT / "docs" / "examples" / "existing_project.py").read_text(encoding="utf-8")
    marked = [line for line in text.splitlines() if "# new" in line or "# was" in line]
    assert len(marked) == 4
    others = [line for line in text.splitlines() if line not in marked and "recbole_atjt" in line]
    assert not [line for line in others if not line.startswith(('"""', "python"))]


class Bypassing(SASRec):
    """A model from outside RecBole that bends the loss after its criterion."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        loss: Tensor = super().calculate_loss(interaction)
        return loss.square()


def test_a_model_whose_loss_escapes_the_weights_is_refused_before_it_is_trained() -> None:
    trainer, train_data, _ = prepared()
    trainer.bare_model.__class__ = Bypassing
    before = state_of(trainer.bare_model)
    with pytest.raises(UsageError, match="model=Bypassing computes a loss that can't be weighted"):
        trainer.fit(train_data, verbose=False)
    assert not changed(before, trainer.bare_model)


def test_the_self_test_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    with_it, train_data, _ = prepared(**changes)
    with_it.fit(train_data, verbose=False)
    monkeypatch.setattr(DenoisingTrainer, "_verify", lambda trainer, loader: None)
    without, train_data, _ = prepared(**changes)
    without.fit(train_data, verbose=False)
    assert with_it.train_loss_dict == without.train_loss_dict
