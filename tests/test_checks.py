"""Conditions that are asked later, as on a GPU: training is the same, and failures are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

import recbole_atjt
from recbole_atjt import DenoisingTrainer, TrainingError
from recbole_atjt.data.loaders import PairedBatch
from recbole_atjt.seam.checks import Checks
from recbole_atjt.training import trainer as training
from recbole_atjt.training.device import OnDevice, read, unread
from tests.every_strategy import RUNS, keys_of
from tests.kills import results, same_models
from tests.runs import assemble
from tests.tiers import fast


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be asked at once."""
    monkeypatch.setattr(Checks, "on", lambda device: Checks(waits=False))


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("name", fast(RUNS, ["none", "atjt", "t_ce", "channel BPR"]))
def test_training_is_the_same_bit_for_bit(
    name: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, weighting, keys = keys_of(name, checkpoint_steps=steps)
    recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="at_once")
    monkeypatch.setattr(Checks, "on", lambda device: Checks(waits=False))
    recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="later")
    assert results("later") == results("at_once")
    same_models("later", "at_once")


@pytest.mark.parametrize("every", [2, 100])
def test_the_batch_whose_loss_is_no_number_is_named(
    every: int, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_ASKED", every)
    plain, seen = DenoisingTrainer._check_nan, []

    def spoil(trainer: DenoisingTrainer, loss: Tensor) -> None:
        seen.append(trainer.batch)
        plain(trainer, loss * torch.inf if trainer.batch == 2 else loss)

    monkeypatch.setattr(DenoisingTrainer, "_check_nan", spoil)
    model, weighting, keys = keys_of("none")
    with pytest.raises(TrainingError, match=r"^epoch 0, batch 2: the loss is inf: try a smaller"):
        recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="out")
    assert (len(seen) == 4) == (every == 2)


def test_a_weight_that_is_no_weight_is_named(later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_atjt.weighting.frequency import InverseFrequency

    monkeypatch.setattr(
        InverseFrequency, "weigh", lambda self, evidence: -torch.ones_like(evidence.loss)
    )
    model, _, keys = keys_of("none")
    with pytest.raises(TrainingError, match=r"^epoch 0, batch 0: .* got a weight that is negative"):
        recbole_atjt.run(model, "tiny", "frequency", config_dict=keys, output_dir="out")


def test_the_first_batch_that_fails_is_raised_once() -> None:
    checks = Checks(waits=False)
    for batch, (one, other) in enumerate([(1.0, 2.0), (1.0, torch.inf), (torch.nan, 3.0)]):
        checks.batch = batch
        checks.require(torch.tensor(one).isfinite(), "one is {}", torch.tensor(one))
        checks.require(torch.tensor(other).isfinite(), "the other is {}", torch.tensor(other))
    with pytest.raises(TrainingError, match=r"^the other is inf$"):
        checks.ask()
    assert checks.batch == 1
    checks.ask()


def test_at_once_is_at_once() -> None:
    checks = Checks.on("cpu")
    checks.require(torch.tensor(True), "nothing")
    with pytest.raises(TrainingError, match=r"^it is 3$"):
        checks.require(torch.tensor(False), "it is {}", torch.tensor(3))
    assert not Checks.on("cuda:0").waits


def test_a_model_may_have_checks_of_its_own() -> None:
    config, _, model = assemble("SASRec", weighting="none")
    model.checks = ["a model's own"]
    trainer = DenoisingTrainer(config, model)
    assert isinstance(trainer.checks, Checks)


@pytest.mark.parametrize("several", [False, True])
def test_losses_are_left_where_they_are(several: bool) -> None:
    """RecBole adds up what their ``item()`` gives; nothing but the end asks for a number."""
    one = torch.tensor(0.1, requires_grad=True)

    def loss_of(batch: float) -> Any:
        return (one * batch, one * 2) if several else one * batch

    losses = unread(loss_of)(3.0)
    parts = losses if several else (losses,)
    assert all(isinstance(part.item(), Tensor) for part in parts)
    assert not any(part.item().requires_grad for part in parts)
    summed: Any = tuple(part.item() + part.item() for part in parts)
    expected = tuple(2 * part.detach().double().item() for part in parts)
    assert read(summed if several else summed[0]) == (expected if several else expected[0])
    sum(parts).backward()
    assert one.grad is not None


def test_what_a_batch_carries_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnDevice, "_sent", lambda self, column: column.to("meta"))
    columns = {"item": torch.arange(4), "history": torch.zeros(4, 2)}
    plain = Interaction(columns)
    paired = PairedBatch(plain, torch.zeros(4), 4, (torch.zeros(2, 2), torch.zeros(2)), None)
    loader = OnDevice([plain, paired], torch.device("meta"))
    assert len(loader) == 2
    first, second = loader
    for batch in (first, second):
        assert all(column.device.type == "meta" for column in batch.interaction.values())
    assert isinstance(second, PairedBatch)
    carried = [second.group, *second.others]
    assert all(each.device.type == "meta" for each in carried)
    assert second.sequences == 4
