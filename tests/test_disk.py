"""A full disk costs figures and logs, never a finished training."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

import recbole_atjt
from recbole_atjt import TrainingError
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.cli import main
from recbole_atjt.experiment import Unwritten
from recbole_atjt.host.repairs.disk import keep_quiet
from tests.runs import arguments, fit, settings, train

FULL = OSError(errno.ENOSPC, "No space left on device")


def fail_for(monkeypatch: pytest.MonkeyPatch, suffix: str, times: int = 99) -> None:
    """Let files of a suffix find no room, the first times."""
    replace, left = os.replace, [times]

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(suffix) and left[0] > 0:
            left[0] -= 1
            raise FULL
        replace(source, target)

    monkeypatch.setattr("recbole_atjt.data.replacing.os.replace", full)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("method", ["write", "flush", "close"])
def test_figures_that_find_no_room_end_no_training(
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected, _ = train("SASRec", "channel")

    def full(*_: Any) -> None:
        raise FULL

    monkeypatch.setattr(RecordWriter, method, full)
    run, _ = train("SASRec", "channel")
    assert run.test == expected.test
    lines = [line for line in caplog.messages if "TensorBoard" in line]
    assert lines == ["TensorBoard's figures can't be written: No space left on device"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_of_figures_that_cant_be_made_ends_no_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path("out").mkdir()
    Path("out/tensorboard").write_text("a file")
    train("SASRec", "none", "out", epochs=1)
    assert any("TensorBoard's figures can't be written" in line for line in caplog.messages)


def test_a_log_that_finds_no_room_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.FileHandler("/dev/full")
    keep_quiet([handler])
    logger = logging.Logger("alone")
    logger.addHandler(handler)
    for number in range(3):
        logger.info(f"line {number}")
    assert capsys.readouterr().err == "/dev/full can't be written: No space left on device\n"


def test_results_that_find_no_room_are_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, "result.json")
    with pytest.raises(Unwritten, match=r"out/result\.json can't be written: No space left") as got:
        recbole_atjt.run(
            "SASRec", "tiny", ["none", "channel"], config_dict=settings(), output_dir="out"
        )
    runs = got.value.result.runs
    assert [run.weighting for run in runs] == ["none", "channel"]
    for run in runs:
        assert load_checkpoint(run.checkpoint).meta["epoch"] == run.best_epoch
    assert not list(Path("out").glob("*.tmp"))
    assert not list(Path("out").glob(".*.tmp"))


def test_the_command_prints_them_in_one_line_and_keeps_the_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_for(monkeypatch, "result.json")
    assert main(arguments(weighting="none,channel")) == 1
    shown = capsys.readouterr()
    assert "SASRec on tiny, test" in shown.out
    assert "against none" in shown.out
    assert shown.err.splitlines()[-1] == (
        "recbole-atjt: out/result.json can't be written: No space left on device; the best models "
        "are kept in out/checkpoints"
    )


def test_room_that_is_found_again_holds_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for(monkeypatch, "result.json", times=1)
    recbole_atjt.run(
        "SASRec", "tiny", ["none", "channel"], config_dict=settings(), output_dir="out"
    )
    assert Path("out/result.json").read_text().count('"best_epoch"') == 2


def test_a_second_run_that_fails_takes_no_result_of_the_first_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_for(monkeypatch, "result.json")
    write = recbole_atjt.training.trainer.save_training

    def full(path: str, *args: Any) -> None:
        if "channel" in path:
            raise TrainingError(f"cannot write checkpoint {path}: {FULL}")
        write(path, *args)

    monkeypatch.setattr("recbole_atjt.training.trainer.save_training", full)
    with pytest.raises(Unwritten) as got:
        recbole_atjt.run(
            "SASRec", "tiny", ["none", "channel"], config_dict=settings(), output_dir="out"
        )
    assert [run.weighting for run in got.value.result.runs] == ["none"]


def test_a_checkpoint_that_finds_no_room_names_the_one_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, calls = recbole_atjt.training.trainer.save_training, []

    def full(path: str, *args: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise TrainingError(f"cannot write checkpoint {path}: {FULL}")
        write(path, *args)

    monkeypatch.setattr("recbole_atjt.training.trainer.save_training", full)
    with pytest.raises(TrainingError, match=r"No space left on device; the best model \(epoch 1\)"):
        fit(4, weighting="none")
    assert load_checkpoint(calls[0]).meta["epoch"] == 1


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_mode_that_the_caller_wants(mask: int) -> None:
    before = os.umask(mask)
    try:
        run, _ = train("SASRec", "none", out="out", epochs=1)
    finally:
        os.umask(before)
    for path in (Path(run.checkpoint), Path("out/result.json")):
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path
