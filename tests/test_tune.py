"""``tune``: spaces, trials judged by validation, a study that goes on, the best as a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
import yaml

import recbole_atjt
from recbole_atjt import TrainingError
from recbole_atjt.cli import main
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.training.evaluating import EvaluatingTrainer
from recbole_atjt.training.trainer import DenoisingTrainer
from recbole_atjt.tuning import study as studies
from recbole_atjt.tuning import trial as trials
from recbole_atjt.tuning.outcome import start_of
from recbole_atjt.tuning.space import Choice, Range, read_space, shipped
from recbole_atjt.tuning.specification import Task, read_task
from recbole_atjt.weighting.keys import explained_keys
from tests.models import data_path
from tests.runs import settings

ROOT = Path(__file__).resolve().parents[1]
LEARNING_RATE = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
_BESIDE = ("seed", "show_progress", "data_path", "learning_rate")


def write(**changes: Any) -> Path:
    """Write the file of a study of tiny trials; None leaves a key out."""
    common = {k: v for k, v in settings(epochs=2).items() if k not in _BESIDE}
    content = {
        "model": "SASRec",
        "dataset": "tiny",
        "weighting": "channel",
        "settings": {**common, **changes.pop("more", {})},
        "search": [LEARNING_RATE, {"channel_share": {"low": 0.1, "high": 0.6}}],
        "trials": 3,
        **changes,
    }
    path = Path("tiny.yaml")
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def task(**changes: Any) -> Task:
    return read_task(write(**changes), data_path())


def command(*more: str, **changes: Any) -> list[str]:
    return ["tune", str(write(**changes)), f"--data_path={data_path()}", "--output_dir=out", *more]


def ended(folder: str = "out") -> list[Any]:
    found = optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/study.db")
    return [each for each in found.get_trials() if each.state.is_finished()]


def test_a_study_finds_settings_that_train_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("--trials=5")) == 0
    shown = capsys.readouterr().out
    assert "best of 5 trials" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "importance" in shown
    made = ended()
    assert len(made) == 5
    start, best = made[0], max(made, key=lambda each: each.value or 0)
    assert start.params == {"learning_rate": 0.001, "channel_share": 0.5}
    assert f"start: ndcg@10 {start.value:.4f}" in shown
    assert best.value > start.value
    # The same settings in a training have the same validation score.
    assert main(["--config_files=out/best.yaml", "--output_dir=again", "--seed=2020"]) == 0
    (run,) = recbole_atjt.ExperimentResult.load("again").runs
    assert run.valid["ndcg@10"] == pytest.approx(best.value, abs=1e-9)
    assert run.weighting == "channel"
    assert run.config["learning_rate"] == best.params["learning_rate"]


def test_the_test_set_is_not_looked_at() -> None:
    seen = []

    def evaluate(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(data)
        return original(self, data, *args, **kwargs)

    original = EvaluatingTrainer.evaluate
    given = task()
    with mock.patch.object(EvaluatingTrainer, "evaluate", evaluate):
        trials.measure(given, {"learning_rate": 0.01}, lambda epoch, score: None)
    tests = len(recbole_atjt.assemble(given.config({}, 2020)).test_data._dataset)
    assert all(len(data._dataset) != 0 for data in seen)
    assert len({id(data) for data in seen}) == 1
    assert tests > 0


def test_several_seeds_are_averaged() -> None:
    scores = {
        seed: trials.measure(task(seeds=[seed]), {"learning_rate": 0.02}, lambda *_: None).value
        for seed in (1, 2)
    }
    both = trials.measure(task(seeds=[1, 2]), {"learning_rate": 0.02}, lambda *_: None)
    assert both.value == pytest.approx(sum(scores.values()) / 2)
    assert both.epochs == 4


def test_trials_below_the_median_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "_STARTUP_TRIALS", 2)
    monkeypatch.setattr(studies, "_STARTUP_EPOCHS", 0)
    epochs_left = iter([9, 9, 1])

    def worse_and_worse(given: Task, values: Any, after_epoch: Any) -> trials.Measured:
        level = next(epochs_left)
        for epoch in range(6):
            after_epoch(epoch, level / 10 + epoch / 100)
        return trials.Measured(level / 10, 6)

    monkeypatch.setattr(studies, "measure", worse_and_worse)
    given = task()
    study = studies.open_study(given, Path("out"))
    studies.go_on(study, given, Path("out"), lambda *_: None)
    states = [(each.state.name, each.user_attrs["epochs"]) for each in ended()]
    assert states == [("COMPLETE", 6), ("COMPLETE", 6), ("PRUNED", 1)]


def test_a_trial_that_fails_is_a_line_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    search = {"n_heads": [1, 2, 3]}  # hidden_size is no multiple of 3
    assert main(command(search=search, trials=6)) == 0
    shown = capsys.readouterr().out
    assert "failed: " in shown
    assert "Traceback" not in shown
    assert {each.state.name for each in ended()} >= {"COMPLETE", "FAIL"}


def test_a_study_of_failures_alone_ends_with_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(more={"user_inter_num_interval": "[1000,inf)"}, trials=50)) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "nothing is left of dataset 'tiny'" in error[0]
    assert len(ended()) == 5


def test_a_score_that_is_no_number_fails_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_number(self: Any, *_: Any, **__: Any) -> Any:
        return float("nan"), {"ndcg@10": float("nan")}

    monkeypatch.setattr(DenoisingTrainer, "_valid_epoch", no_number)
    given = task()
    study = studies.open_study(given, Path("out"))
    with pytest.raises(TrainingError):
        studies.go_on(study, given, Path("out"), lambda *_: None)


def test_a_finished_study_prints_its_end_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command()) == 0
    first = capsys.readouterr().out
    assert main(command()) == 0
    again = capsys.readouterr().out
    assert again.startswith("going on after 3 trials of out\n")
    assert again.split("best of", 1)[1] == first.split("best of", 1)[1]
    assert main(command("--trials=4")) == 0
    assert len(ended()) == 4


def test_another_task_in_the_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(trials=1)) == 0
    assert main(command(trials=1, more={"hidden_size": 16})) == 2
    assert "another task (settings differ)" in capsys.readouterr().err
    Path("out/study.db").write_bytes(b"no database" * 1000)
    assert main(command(trials=1)) == 2
    assert "is no study that can be gone on with" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_study_goes_on_and_processes_share_it() -> None:
    given = command(trials=6, more={"epochs": 30})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "recbole_atjt", *given],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "trial 2 of 6" not in process.stdout.readline():
        pass
    time.sleep(0.5)  # the third trial is under way
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {each.number: each.value for each in ended()}
    assert len(before) >= 2
    done = subprocess.run(
        [sys.executable, "-m", "recbole_atjt", *given, "--jobs", "2"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "going on after" in done.stdout
    after = {each.number: each for each in ended()}
    assert {number: after[number].value for number in before} == before
    assert sum(each.state.name in ("COMPLETE", "PRUNED") for each in after.values()) == 6
    assert Path("out/best.yaml").is_file()


def test_a_trial_that_died_before_it_began_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = task(trials=2)
    study = studies.open_study(wanted, Path("out"))
    study.ask()  # by a process that dies before it asks for any settings
    monkeypatch.setattr(studies, "GRACE", 0.2)
    studies.go_on(study, wanted, Path("out"), lambda *_: None)
    states = [each.state.name for each in study.get_trials()]
    assert states.count("FAIL") == 1
    assert "RUNNING" not in states
    made = studies.made(study)
    assert len(made) == 2
    assert {"learning_rate": 0.001, "channel_share": 0.5} in [each.params for each in made]


def test_two_processes_never_take_one_queued_trial() -> None:
    wanted = task(trials=40)
    study = studies.open_study(wanted, Path("out"))
    for number in range(20):
        study.enqueue_trial({"learning_rate": 0.01 + number / 1000, "channel_share": 0.2})
    taken = """
import sys
from pathlib import Path
from recbole_atjt.tuning.specification import read_task
from recbole_atjt.tuning.study import _begin, open_study
task = read_task(Path("tiny.yaml"), sys.argv[1])
study = open_study(task, Path("out"))
print("ready", flush=True)
sys.stdin.readline()
print(*[_begin(study, task, Path("out")).number for _ in range(12)])
"""
    script = [sys.executable, "-c", taken, str(data_path())]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(script, **pipes) for _ in range(2)]
    for each in processes:
        assert each.stdout is not None
        assert each.stdin is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        print("go", file=each.stdin, flush=True)
    said = [each.communicate()[0] for each in processes]
    numbers = [int(number) for each in said for number in each.split()]
    assert len(numbers) == 24
    assert len(set(numbers)) == 24


def test_a_trial_that_others_gave_up_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = task(trials=2)
    study = studies.open_study(wanted, Path("out"))
    measured = studies.measure

    def outlived(*given: Any) -> Any:
        (running,) = studies._running(study)
        if running.number == 0:
            study.tell(0, state=optuna.trial.TrialState.FAIL)
        return measured(*given)

    monkeypatch.setattr(studies, "measure", outlived)
    reported: list[int] = []
    studies.go_on(study, wanted, Path("out"), lambda _, trial: reported.append(trial.number))
    assert reported == [1, 2]
    assert [each.state.name for each in study.get_trials()] == ["FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("name", shipped())
def test_spaces_that_ship_hold_the_start_and_are_trained(name: str) -> None:
    keys = {item.key for item in explained_keys()} | {"learning_rate"}
    assert set(read_space(name)) <= keys
    reward = {"metrics": ["NDCG", "AUC"], "value_metrics": ["AUC"]}
    more = reward if name.startswith("autodenoise") else {}
    given = task(weighting=name, search=name, more={**more, "atjt_evidence": "likelihood"})
    start = given.start()
    for key, values in given.space.items():
        assert values.holds(start[key]), f"{key}={start[key]} is not in {values}"
    assert trials.measure(given, start, lambda *_: None).value > 0


def test_what_is_searched_is_drawn_from_its_values() -> None:
    space = read_space({"a": [1, "x", None, [1, 2]], "b": {"low": 1, "high": 9, "step": 2}})
    space.update(
        read_space({"c": {"low": "1e-3", "high": 0.1, "log": True}, "d": {"low": 0, "high": 1.5}})
    )
    for number in range(30):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
        drawn = {key: each.suggest(study.ask(), key) for key, each in space.items()}
        for key, value in drawn.items():
            assert space[key].holds(value)
        assert drawn["a"] in [1, "x", None, [1, 2]]
        assert drawn["b"] in (1, 3, 5, 7, 9)
        assert isinstance(drawn["b"], int)
    assert isinstance(space["a"], Choice)
    assert isinstance(space["c"], Range)
    assert not space["b"].holds(2)
    assert not space["b"].holds(True)
    assert not space["d"].holds("1")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"search": None}, "search is missing"),
        ({"model": None}, "model is missing"),
        ({"trails": 3}, "key 'trails' is unknown, did you mean 'trials'"),
        ({"trials": 0}, "trials=0 is not a whole number of at least 1"),
        ({"prune": "often"}, "prune=often is neither true nor false"),
        ({"seeds": ["a"]}, "seeds: ['a'] is no list of whole numbers"),
        ({"search": "chanel"}, "chanel is unknown, did you mean 'channel'"),
        ({"search": {"learning_rte": [0.1]}}, "key 'learning_rte' is unknown"),
        ({"search": {"learning_rate": 0.1}}, "neither a list of values nor"),
        ({"search": {"learning_rate": {"low": 1}}}, "neither a list of values nor"),
        ({"search": {"learning_rate": {"low": 1, "high": 0.1}}}, "low=1 is not below high=0.1"),
        ({"search": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, "has no logarithm"),
        ({"search": {"learning_rate": {"low": 0.1, "high": 1, "lg": 1}}}, "'lg' is unknown"),
        ({"search": {"learning_rate": {"low": "x", "high": 1}}}, "low=x is not a number"),
        ({"search": {"channel_share": {"low": 0.1, "high": 2}}}, "channel_share=2"),
        ({"search": {"n_layers": []}}, "n_layers has no values"),
        ({"search": {"n_layers": [1, 1]}}, "1 stands there twice"),
        ({"search": {"n_layers": {"low": 1, "high": 9, "step": 20}}}, "step=20 does not fit"),
        ({"search": {"seed": [1, 2]}}, "seed is the same in all trials"),
        ({"search": {"valid_metric": ["Hit@5"]}}, "valid_metric is the same in all trials"),
        ({"search": {}}, "search is empty"),
        ({"more": {"weighting": "atjt"}}, "weighting stands beside settings"),
        ({"model": "SASRek"}, "did you mean 'SASRec'"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(
    changes: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(**changes)) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.startswith("recbole-atjt: tiny.yaml: ")
    assert len(error.splitlines()) == 1
    assert not Path("out").exists()


def test_a_start_outside_the_space_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    search = {"channel_share": {"low": 0.1, "high": 0.3}}
    assert main(command(search=search, trials=1)) == 0
    assert "lie outside the space" in capsys.readouterr().out
    assert start_of(optuna.load_study(study_name="study", storage="sqlite:///out/study.db")) is None


def test_without_optuna_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(command()) == 2
    assert "pip install 'recbole_atjt[tune]'" in capsys.readouterr().err


def test_the_file_of_the_best_is_read_as_it_was_written() -> None:
    assert main(command(search={"autodenoise_hidden_sizes": [[8], [64, 32]]}, trials=2)) == 0
    found = yaml.safe_load(Path("out/best.yaml").read_text())
    assert found["autodenoise_hidden_sizes"] in ([8], [64, 32])
    config = DenoisingConfig(config_file_list=["out/best.yaml"])
    assert config["autodenoise_hidden_sizes"] == found["autodenoise_hidden_sizes"]
    stored = {json.dumps(value) for value in ([8], [64, 32])}
    assert {each.params["autodenoise_hidden_sizes"] for each in ended()} <= stored
