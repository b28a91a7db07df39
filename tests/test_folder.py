"""A folder is of one call at a time and keeps what it held; no run reports another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import recbole_atjt
from recbole_atjt import DenoisingTrainer, TrainingError, UsageError, experiment
from recbole_atjt.report.folder import in_use, new_folder
from recbole_atjt.report.result import ExperimentResult
from recbole_atjt.training.evaluating import EvaluatingTrainer
from tests.runs import assemble, fit, settings, train

ROOT = Path(__file__).resolve().parents[1]


def runs_in(folder: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((Path(folder) / "result.json").read_text())["runs"]
    return found


def test_calls_of_the_same_second_have_folders_of_their_own() -> None:
    class Stopped(experiment.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2026, 1, 2, 3, 4, 5)

    found = []
    with mock.patch.object(experiment, "datetime", Stopped):
        for size in (4, 8):
            keys = settings(epochs=1, hidden_size=size)
            found.append(recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys))
    first, second = found
    assert first.output_dir == Path("runs/SASRec-tiny-20260102-030405")
    assert second.output_dir == Path("runs/SASRec-tiny-20260102-030405-2")
    for result, size in zip(found, (4, 8)):
        (run,) = runs_in(result.output_dir)
        assert run["config"]["hidden_size"] == size
        assert Path(run["checkpoint"]).parent.parent == result.output_dir


def test_a_folder_below_a_file_is_one_line() -> None:
    Path("file").write_text("")
    with pytest.raises(UsageError, match="file"):
        new_folder(Path("file") / "new")


def test_a_folder_in_use_is_refused_and_free_afterwards() -> None:
    keys = settings(epochs=1)
    with in_use(Path("out")), pytest.raises(UsageError, match="output_dir=out is in use"):
        recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys, output_dir="out")
    assert sorted(path.name for path in Path("out").iterdir()) == [".lock"]
    recbole_atjt.run("SASRec", "tiny", "none", config_dict=keys, output_dir="out")
    assert len(runs_in("out")) == 1


def test_a_killed_process_leaves_its_folder_free() -> None:
    text = (
        "import sys, time; from pathlib import Path\n"
        "from recbole_atjt.report.folder import in_use\n"
        "with in_use(Path('out')):\n    print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", text], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UsageError, match="in use"), in_use(Path("out")):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with in_use(Path("out")):
        pass


def test_a_second_call_keeps_the_earlier_results() -> None:
    keys = settings(epochs=1)
    recbole_atjt.run("SASRec", "tiny", "none", 1, config_dict=keys, output_dir="out")
    before = runs_in("out")
    again = recbole_atjt.run("SASRec", "tiny", "none", 2, config_dict=keys, output_dir="out")
    assert [run["seed"] for run in runs_in("out")] == [1, 2]
    assert runs_in("out")[:1] == before
    assert [run.seed for run in again.runs] == [2]
    assert [run.seed for run in again.everything] == [1, 2]


@pytest.mark.parametrize("left", ["finished", "begun"])
def test_a_run_that_is_there_is_not_written_over(left: str) -> None:
    train("SASRec", "none", out="out", epochs=1)
    kept = Path("out/checkpoints/SASRec-tiny-none-7.safetensors")
    if left == "begun":
        Path("out/result.json").unlink()
    else:
        kept.unlink()
    with pytest.raises(UsageError, match=r"SASRec-tiny-none-7 (has finished|was begun) there"):
        train("SASRec", "none", out="out", epochs=1, hidden_size=4)


def test_a_damaged_result_is_not_written_over() -> None:
    Path("out").mkdir()
    Path("out/result.json").write_text("{")
    with pytest.raises(UsageError, match=r"out/result\.json is damaged"):
        train("SASRec", "none", out="out", epochs=1)
    assert Path("out/result.json").read_text() == "{"


def never_a_number() -> Any:
    nan = float("nan")
    found = (nan, {"ndcg@10": nan})
    return mock.patch.object(EvaluatingTrainer, "_valid_epoch", return_value=found)


def test_where_nothing_was_kept_no_other_checkpoint_is_evaluated() -> None:
    older = Path(fit(1, weighting="none").saved_model_file)
    config, (train_data, valid_data, _), model = assemble("SASRec", weighting="none", epochs=1)
    trainer = DenoisingTrainer(config, model)
    trainer.saved_model_file = str(older)
    with never_a_number():
        trainer.fit(train_data, valid_data, verbose=False)
    with pytest.raises(TrainingError, match=r"no epoch was kept \(NDCG@10 was nan at the last"):
        trainer.evaluate(valid_data)
    assert trainer.evaluate(valid_data, load_best_model=False)


def test_a_call_whose_validation_is_never_a_number_ends_in_one_line() -> None:
    with never_a_number(), pytest.raises(TrainingError, match="no epoch was kept"):
        recbole_atjt.run("SASRec", "tiny", "none", config_dict=settings(), output_dir="out")


def test_trainers_of_the_same_second_keep_files_of_their_own() -> None:
    config, _, model = assemble("SASRec", weighting="none")
    one, other = (DenoisingTrainer(config, model) for _ in range(2))
    assert one.saved_model_file != other.saved_model_file


def test_a_link_beside_the_result_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "result.json.tmp").symlink_to(victim)
    (folder / "result.json").symlink_to(victim)
    ExperimentResult(folder).write()
    assert victim.read_text() == "precious"
    assert not (folder / "result.json").is_symlink()


def test_a_run_writes_nothing_into_the_working_folder() -> None:
    train("SASRec", "atjt", "elsewhere/out", epochs=1)
    assert os.listdir() == ["elsewhere"]


@pytest.mark.parametrize("output_dir", [None, "out", "a/b/out"])
def test_a_call_that_fails_leaves_no_empty_folder(output_dir: str | None) -> None:
    with pytest.raises(UsageError, match="dataset"):
        recbole_atjt.run("SASRec", "nowhere", "none", output_dir=output_dir)
    assert not [path for path in Path().rglob("*") if not path.is_dir()]
    assert not list(Path().rglob("out"))
    assert not list(Path().rglob("runs"))


def test_a_call_that_fails_keeps_what_the_folder_held() -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="dataset"):
        recbole_atjt.run("SASRec", "nowhere", "none", output_dir="out")
    assert sorted(os.listdir("out")) == [".lock", "mine.txt"]


def test_what_a_run_writes_is_as_readable_as_any_file() -> None:
    before = os.umask(0o027)
    try:
        train("SASRec", "channel", "out", epochs=1)
    finally:
        os.umask(before)
    for path in Path("out").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o640, path
