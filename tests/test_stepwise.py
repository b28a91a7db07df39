"""A run that is killed inside an epoch goes on inside it, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import recbole_atjt
from recbole_atjt import DenoisingTrainer, TrainingError, UsageError
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.errors import AtjtError
from recbole_atjt.weighting import looking
from tests.every_strategy import RUNS, keys_of
from tests.kills import Killed, kill_at, results, same_models
from tests.runs import fit
from tests.tiers import fast


@pytest.mark.parametrize(("epoch", "batch"), [(0, 3), (1, 3), (2, 2)])
@pytest.mark.parametrize("name", fast(RUNS, ["none", "atjt"]))
def test_a_run_killed_inside_an_epoch_ends_as_an_unbroken_one(
    name: str, epoch: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, weighting, keys = keys_of(name)
    recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="whole")
    keys = {**keys, "checkpoint_steps": 2}
    with monkeypatch.context() as patch:
        kill_at(patch, epoch, batch)
        with pytest.raises(Killed):
            recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="broken")
    (last,) = Path("broken/checkpoints").glob("*.last.*")
    inside = load_checkpoint(last).meta["inside"]
    assert inside["batch"] == batch - batch % 2
    made: list[int] = []
    with monkeypatch.context() as patch:
        plain = DenoisingTrainer._check_nan

        def count(trainer: DenoisingTrainer, loss: Any) -> None:
            made.append(trainer.batch)
            plain(trainer, loss)

        patch.setattr(DenoisingTrainer, "_check_nan", count)
        torch.manual_seed(99)
        recbole_atjt.run(resume="broken")
    assert made[0] == inside["batch"], "what was trained is not trained again"
    whole, broken = results("whole"), results("broken")
    for runs in (whole, broken):
        runs[0]["config"].pop("checkpoint_steps")
    assert broken == whole
    same_models("whole", "broken")


@pytest.mark.parametrize(("epoch", "batch"), [(0, 3), (2, 5)])
@pytest.mark.parametrize("name", ["channel BPR", "atjt BPR"])
def test_between_the_batches_that_are_looked_at_it_goes_on_as_well(
    name: str, epoch: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking.Looking, "every", lambda self, part=1.0: 4)
    test_a_run_killed_inside_an_epoch_ends_as_an_unbroken_one(name, epoch, batch, monkeypatch)


def test_an_epoch_is_kept_every_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    plain = DenoisingTrainer._save

    def save(trainer: DenoisingTrainer, path: str, state: Any, *more: Any) -> None:
        kept.append((trainer.epoch, (state.inside or {}).get("batch")))
        plain(trainer, path, state, *more)

    monkeypatch.setattr(DenoisingTrainer, "_save", save)
    model, weighting, keys = keys_of("none", checkpoint_steps=2, epochs=1)
    result = recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="out")
    steps = [batch for _, batch in kept if batch is not None]
    assert steps == list(range(2, 2 * len(steps) + 1, 2))
    assert len(steps) >= 3
    assert not list(Path("out/checkpoints").glob("*.last.*"))
    assert result.runs[0].epochs == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checkpoint_steps": -1}, "checkpoint_steps=-1 is not a whole number of at least 0"),
        ({"checkpoint_steps": 2.5}, "checkpoint_steps=2.5 is not a whole number"),
        ({"checkpoint_steps": 2, "worker": 1}, "checkpoint_steps=2: goes with worker=0, not 1"),
    ],
)
def test_steps_that_cannot_be_kept_are_refused(changes: dict[str, Any], said: str) -> None:
    model, weighting, keys = keys_of("none", **changes)
    with pytest.raises(UsageError, match=said):
        recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="out")


def test_a_trainer_that_keeps_no_last_state_says_so() -> None:
    with pytest.raises(UsageError, match="checkpoint_steps=2: no last state"):
        fit(1, checkpoint_steps=2)


def test_a_full_disk_ends_between_steps_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise TrainingError("cannot write checkpoint: No space left on device")

    model, weighting, keys = keys_of("none", checkpoint_steps=2)
    monkeypatch.setattr("recbole_atjt.training.trainer.save_training", full)
    with pytest.raises(AtjtError) as caught:
        recbole_atjt.run(model, "tiny", weighting, config_dict=keys, output_dir="out")
    assert str(caught.value) == (
        "cannot write checkpoint: No space left on device; no model was saved before"
    )
