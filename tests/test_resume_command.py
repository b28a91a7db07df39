"""A killed command, gone on with, ends as an unbroken one; finished runs are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.sequential_recommender import GRU4Rec

import recbole_atjt
from recbole_atjt import DenoisingTrainer, TrainingError, UsageError, experiment
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.cli import main
from tests.kills import Killed, kill_at, results, same_models
from tests.models import data_path
from tests.runs import arguments, settings
from tests.tiers import fast

ROOT = Path(__file__).resolve().parents[1]
WEIGHTINGS = ["none", "atjt", "dnr", "channel", "autodenoise_s", "t_ce", "frequency"]
EPOCHS = 4


def keys(**changes: Any) -> dict[str, Any]:
    negatives = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    return settings(epochs=EPOCHS, loss_type="BPR", dnr_epochs=1, **negatives, **changes)


@pytest.mark.parametrize("epoch", [0, 1, 3])
@pytest.mark.parametrize("weighting", fast(WEIGHTINGS, ["channel"]))
def test_a_run_that_is_killed_ends_as_an_unbroken_one(
    weighting: str, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recbole_atjt.run("SASRec", "tiny", weighting, config_dict=keys(), output_dir="whole")
    with monkeypatch.context() as patch:
        kill_at(patch, epoch, 1)
        with pytest.raises(Killed):
            recbole_atjt.run("SASRec", "tiny", weighting, config_dict=keys(), output_dir="broken")
    torch.manual_seed(99)
    resumed = recbole_atjt.run(resume="broken")
    assert results("broken") == results("whole")
    same_models("whole", "broken")
    (run,) = resumed.runs
    assert run.epochs == EPOCHS + (run.weights or {}).get("begun", 0)
    assert not list(Path("broken/checkpoints").glob("*.last.*"))


def test_killed_again_and_again_it_still_ends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    recbole_atjt.run("SASRec", "tiny", "atjt", config_dict=keys(), output_dir="whole")
    first: dict[str, Any] = {"config_dict": keys(), "output_dir": "broken"}
    for epoch in (1, 1, 2, 3):
        given = {"resume": "broken"} if Path("broken").exists() else first
        arguments = () if "resume" in given else ("SASRec", "tiny", "atjt")
        with monkeypatch.context() as patch:
            kill_at(patch, epoch, 1)
            with pytest.raises(Killed):
                recbole_atjt.run(*arguments, **given)
    recbole_atjt.run(resume="broken")
    assert results("broken") == results("whole")
    same_models("whole", "broken")


def test_only_what_is_unfinished_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = (["SASRec", "GRU4Rec"], "tiny", ["none", "channel"])
    recbole_atjt.run(*lists, config_dict=keys(), output_dir="whole")
    with monkeypatch.context() as patch:
        made = []
        fit = DenoisingTrainer.fit

        def fit_two(trainer: DenoisingTrainer, *args: Any, **kwargs: Any) -> Any:
            made.append(trainer)
            if len(made) == 3:
                kill_at(patch, 2, 1)
            return fit(trainer, *args, **kwargs)

        patch.setattr(DenoisingTrainer, "fit", fit_two)
        with pytest.raises(Killed):
            recbole_atjt.run(*lists, config_dict=keys(), output_dir="broken")
    before = results("broken")
    assert len(before) == 2
    kept = {path: path.stat().st_mtime_ns for path in Path("broken/checkpoints").iterdir()}
    assert main(["--resume=broken"]) == 0
    assert "GRU4Rec on tiny, test" in capsys.readouterr().out
    assert results("broken") == results("whole")
    for run in before:
        path = Path(f"broken/checkpoints/{run['model']}-tiny-{run['weighting']}-7.safetensors")
        assert path.stat().st_mtime_ns == kept[path]
    assert main(["--resume=broken"]) == 0  # nothing is left to do
    assert results("broken") == results("whole")


def test_config_files_are_those_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.yaml").write_text("learning_rate: 0.02\ntopk: [5]\n", encoding="utf-8")
    given = {**keys(), "valid_metric": "NDCG@5"}
    given.pop("learning_rate"), given.pop("topk")
    with monkeypatch.context() as patch:
        kill_at(patch, 1, 1)
        with pytest.raises(Killed):
            recbole_atjt.run(
                "SASRec", "tiny", "none", None, ["mine.yaml"], given, output_dir="broken"
            )
    Path("mine.yaml").write_text("learning_rate: 0.5\n", encoding="utf-8")
    (run,) = recbole_atjt.run(resume="broken").runs
    assert (run.config["learning_rate"], run.config["topk"]) == (0.02, [5])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"valid_metric": "Hit@5"}, "goes on by its own settings: leave valid_metric out"),
        ({"revised_validation": True}, "goes on by its own settings: leave revised_validation out"),
        ({"epochs": 9}, "goes on by its own settings: leave epochs out"),
    ],
)
def test_settings_are_not_changed_by_a_resume(given: dict[str, Any], message: str) -> None:
    recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys(), output_dir="out")
    with pytest.raises(UsageError, match=message):
        recbole_atjt.run(resume="out", config_dict=given)
    recbole_atjt.run(resume="out", config_dict={"show_progress": False})


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": [5]}', '{"runs": [{"name": "a"}]}'])
def test_a_folder_that_can_not_be_gone_on_with_is_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume=nowhere"]) == 2
    line = capsys.readouterr().err
    assert "nowhere/calls.json can't be read: No such file or directory; give the output" in line
    assert not Path("nowhere").exists()
    Path("odd").mkdir()
    Path("odd/calls.json").write_text(text, encoding="utf-8")
    assert main(["--resume=odd"]) == 2
    assert "odd/calls.json is damaged" in capsys.readouterr().err
    assert main(["--resume=odd", "--model=SASRec"]) == 2
    assert "leave out" in capsys.readouterr().err


def test_a_wrong_call_leaves_no_plan_behind() -> None:
    recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys(), output_dir="out")
    plan = Path("out/calls.json").read_text()
    with pytest.raises(UsageError, match="dataset 'tinyy' not found"):
        recbole_atjt.run("SASRec", "tinyy", "none", config_dict=keys(), output_dir="out")
    assert Path("out/calls.json").read_text() == plan
    recbole_atjt.run(resume="out")
    with pytest.raises(UsageError, match="dataset 'tinyy' not found"):
        recbole_atjt.run("SASRec", "tinyy", "none", config_dict=keys(), output_dir="new")
    assert not Path("new/calls.json").exists()


def test_other_data_are_refused_by_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(data_path()) / "tiny" / "tiny.inter"
    folder = Path("data/tiny")
    folder.mkdir(parents=True)
    file = folder / "tiny.inter"
    file.write_text(source.read_text())
    given = keys(data_path="data", load_col=None)
    with monkeypatch.context() as patch:
        kill_at(patch, 2, 1)
        with pytest.raises(Killed):
            recbole_atjt.run("SASRec", "tiny", "none", config_dict=given, output_dir="out")
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *rows[::-1], ""]))
    with pytest.raises(UsageError, match="was trained on other interactions of tiny"):
        recbole_atjt.run(resume="out")


def test_a_class_of_a_script_can_not_be_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(GRU4Rec):
        pass

    given = keys(num_layers=1, dropout_prob=0.1)
    with monkeypatch.context() as patch:
        kill_at(patch, 1, 1)
        with pytest.raises(Killed):
            recbole_atjt.run(Mine, "tiny", "none", config_dict=given, output_dir="out")
    with pytest.raises(UsageError, match=r"Mine-tiny-none-7 .*class of a script"):
        recbole_atjt.run(resume="out")


def test_on_a_full_disk_the_last_good_state_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    recbole_atjt.run("SASRec", "tiny", "atjt", config_dict=keys(), output_dir="whole")
    write, calls = recbole_atjt.checkpoint.file.save_file, []

    def full(store: Any, path: Any, **others: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(store, path, **others)

    with monkeypatch.context() as patch:
        patch.setattr("recbole_atjt.checkpoint.file.save_file", full)
        with pytest.raises(TrainingError, match="No space left on device"):
            recbole_atjt.run("SASRec", "tiny", "atjt", config_dict=keys(), output_dir="broken")
    recbole_atjt.run(resume="broken")
    assert results("broken") == results("whole")
    same_models("whole", "broken")


def test_sigterm_ends_with_one_line_and_a_state_to_go_on_from() -> None:
    given = arguments(weighting="channel", epochs=2000, stopping_step=5000)
    with Path("err").open("w") as lines:  # a pipe would fill up
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_atjt.py"), *given],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=lines,
        )
    last = Path("out/checkpoints/SASRec-tiny-channel-7.last.safetensors")
    deadline = time.monotonic() + 120
    while not last.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    error = Path("err").read_text()
    assert process.returncode == 143, error
    assert "Traceback" not in error
    line = error.splitlines()[-1]
    assert line.startswith("recbole-atjt: interrupted in epoch ")
    assert line.endswith("go on with --resume=out")
    assert load_checkpoint(last).meta["epoch"] >= 0


def test_a_sigterm_that_is_swallowed_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "ASK_AGAIN", 0.2)
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with suppress(BaseException):  # as where it is raised in a callback
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    with pytest.raises(experiment.Termination), experiment.ending_at_sigterm():
        work()
    assert signal.getsignal(signal.SIGTERM) is before
    time.sleep(0.5)  # no alarm is left
