"""``bench`` from its file to its table: what is made once, what fails, what is left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import recbole_atjt
from recbole_atjt import TrainingError, experiment
from recbole_atjt.bench import measure, processes
from recbole_atjt.bench.journal import Journal
from recbole_atjt.bench.measure import measure as measured
from recbole_atjt.bench.processes import make_cells
from recbole_atjt.bench.work import unfinished, work
from recbole_atjt.cli import main
from tests.benches import bench, line, write
from tests.models import data_path
from tests.runs import settings
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("cells.jsonl")


def call(*more: str, **changes: Any) -> int:
    """Run a tiny bench by the command."""
    file = write(**changes)
    words = [f"--data_path={data_path()}", f"--output={OUTPUT}", *more]
    return main(["bench", str(file), *words])


def lines() -> list[dict[str, Any]]:
    return [json.loads(text) for text in OUTPUT.read_text(encoding="utf-8").splitlines()]


def test_a_bench_from_end_to_end(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plants = [None, "popular:0.3"]
    skip = {"plants": "none", "strategies": "oracle"}
    changes = {"plants": plants, "strategies": ["none", "oracle"], "skip": skip}
    assert call("--markdown=out/t.md", "--csv=t.csv", **changes) == 0
    shown, error = capfd.readouterr()
    assert error == ""  # no bar, no warnings where it is redirected
    assert "GRU4Rec on tiny, popular:0.3 planted" in shown
    assert shown.rstrip().endswith("cells: cells.jsonl")
    assert "| GRU4Rec, tiny | popular:0.3 | `oracle` |" in Path("out/t.md").read_text()
    assert len(Path("t.csv").read_text().splitlines()) == 4
    found = lines()
    assert [(one["plant"], one["strategy"], one["seed"]) for one in found] == [
        ("none", "none", 1),
        ("popular:0.3", "none", 1),
        ("popular:0.3", "oracle", 1),
        ("none", "none", 2),
        ("popular:0.3", "none", 2),
        ("popular:0.3", "oracle", 2),
    ]
    oracle = found[2]
    assert oracle["noise_auroc"] == 1.0
    assert oracle["weights"]["false_positive"]["mean"] == 0.0
    assert oracle["settings"]["epochs"] == 1
    assert set(oracle["test"]) == set(oracle["valid"]) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}
    assert {"recbole_atjt", "torch"} <= set(oracle["versions"])
    assert set(oracle["seconds"]) == {"prepare", "train", "epoch", "evaluate"}
    assert "data_path" not in OUTPUT.read_text(encoding="utf-8")
    left = {path.name for path in Path().iterdir()}
    assert left == {"bench.yaml", "cells.jsonl", "cells.jsonl.lock", "out", "t.csv"}

    def never(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(experiment, "run", never)
    assert call("--jobs=2", **changes) == 0
    assert capfd.readouterr().out == shown
    assert len(lines()) == 6
    assert call("--seeds=2", "--plants=popular:0.3", **changes) == 0
    assert "nothing planted" not in capfd.readouterr().out


def test_a_cell_is_the_run_of_the_same_settings() -> None:
    found = measured(bench(seeds=1, more={"epochs": 2}).cells[1])
    keys = settings(epochs=2)
    result = recbole_atjt.run("GRU4Rec", "tiny", "t_ce", 1, config_dict=keys, output_dir="out")
    (run,) = result.runs
    assert found["test"] == run.test
    assert found["valid"] == run.valid
    assert (found["best_epoch"], found["epochs"]) == (run.best_epoch, 2)


def test_a_cell_that_fails_is_a_line_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = {"name": "t_ce", "learning_rate": 1e30, "epochs": 3, "label": "wild"}
    changes = {"strategies": ["none", broken], "seeds": [1, 2]}
    assert call(**changes) == 1
    found = lines()
    assert ["failed" in one for one in found] == [False, True, False, True]
    assert "the loss is nan" in found[1]["failed"]
    assert "\n" not in found[1]["failed"]
    shown = capsys.readouterr().out
    assert "failed: GRU4Rec on tiny, wild, seed 1: " in shown
    assert call(**changes) == 1
    assert len(lines()) == 4
    assert call("--retry_failed", "--seeds=2", **changes) == 1
    assert [(one["strategy"], one["seed"]) for one in lines()[4:]] == [("wild", 2)]


def test_a_failure_that_is_made_good_is_forgotten() -> None:
    found = bench(seeds=1)
    with Journal(OUTPUT) as journal:
        journal.append({**found.cells[0].names, "failed": "x"})
        journal.append(line(found.cells[1], 0.5))
        assert unfinished(found.cells, journal) == []
        assert unfinished(found.cells, journal, 2) == [found.cells[0]]
        work(found.cells, journal, 2)
    assert "test" in lines()[2]
    assert len(lines()) == 3


def test_an_error_that_nobody_expected_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise LookupError("a\nbug")

    monkeypatch.setattr(measure.experiment, "run", broken)
    before = Path.cwd()
    found = measured(bench(seeds=1).cells[0])
    assert found["failed"] == "LookupError: a bug"
    assert Path.cwd() == before


def test_ctrl_c_says_how_far_it_came(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = experiment.run
    calls = iter(range(9))

    def interrupted(*args: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(experiment, "run", interrupted)
    assert call() == 130
    assert "interrupted: 2 of 4 cells are in " in capsys.readouterr().err
    assert len(lines()) == 2
    assert call() == 0
    assert len(lines()) == 4


def test_processes_that_end_early_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    found = bench(seeds=1)
    expected = pytest.raises(TrainingError, match=r"\(exit codes 1, 1\) and left 2 cells")
    with Journal(OUTPUT) as journal, expected:
        make_cells(found.cells, journal, jobs=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "FILE.yaml is missing: bench FILE.yaml"),
        (["no.yaml"], "config file no.yaml can't be read"),
        (["bench.yaml", "--job=2"], "key 'job' is unknown, did you mean 'jobs'?; see bench --help"),
        (["bench.yaml", "--jobs=0"], "jobs=0 is not a whole number of at least 1"),
        (["bench.yaml", "--jobs=two"], "jobs=two is not a whole number"),
        (["bench.yaml", "--retry_failed=3"], "retry_failed=3 is neither True nor False"),
        (["bench.yaml", "--seeds=3"], "bench.yaml: --seeds: '3' is unknown: there are 1, 2"),
        (["bench.yaml", "--strategies=tce"], "'tce' is unknown, did you mean 't_ce'?"),
        (["bench.yaml", "--output=/proc/x/y"], "/proc/x/y can't be written to"),
        (["bench.yaml", "--data_path=no"], "dataset 'tiny' not found"),
        (["bench.yaml", "--epochs=1"], "key 'epochs' is unknown"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    assert main(["bench", *words]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert len(error.splitlines()) == 1


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(seeds=[1, 1], part="x") == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2
    assert all(text.startswith("recbole-atjt: bench.yaml: ") for text in error)


@pytest.mark.slow
def test_two_processes_share_the_cells(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("--jobs=2", "--seeds=1,2") == 0
    two = {(one["strategy"], one["seed"]): {**one, "seconds": 0} for one in lines()}
    assert len(two) == len(lines()) == 4
    assert capfd.readouterr().err == ""
    OUTPUT.unlink()
    assert call() == 0
    assert two == {(one["strategy"], one["seed"]): {**one, "seconds": 0} for one in lines()}


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_bench_equals_an_unbroken_one(
    jobs: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script(ROOT / "benchmarks" / "killed_bench.py")
    monkeypatch.setattr(sys, "argv", ["killed_bench.py", "--kills=3", f"--jobs={jobs}"])
    assert script.main() == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["equal"], found["cells"], found["kills"]) == (True, 8, 3)
