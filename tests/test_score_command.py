"""``score`` from end to end: what it writes and shows, and what it refuses before it trains."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_atjt.cli import main
from recbole_atjt.scoring import scored, table
from recbole_atjt.scoring.figures import measure
from recbole_atjt.scoring.scored import score_interactions
from recbole_atjt.scoring.table import COLUMNS, read_scores, write_scores
from recbole_atjt.weighting.table import STRATEGIES
from tests.outside import announced
from tests.runs import options
from tests.scores import clicks, config_of, keys, write_inter

PLANT = {"plant": "clickbait:0.3", "plant_items": 3}


def words(**changes: Any) -> list[str]:
    given = {
        **keys(epochs=3),
        "model": "GRU4Rec",
        "dataset": "plain",
        "output_dir": "out",
        **changes,
    }
    for filtered in ("user_inter_num_interval", "item_inter_num_interval"):
        given.pop(filtered, None)
    return options(given)


def test_it_writes_a_row_for_each_training_click(capsys: pytest.CaptureFixture[str]) -> None:
    file = write_inter("plain", clicks())
    before = file.read_bytes()
    assert main(["score", *words(weighting=None, **PLANT)]) == 0
    assert file.read_bytes() == before
    with open("out/scores.csv", newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 72
    for row in rows:
        assert 0 <= float(row["score"]) <= 1
        assert 0 <= float(row["weight"]) <= 1
        assert int(row["epochs"]) in (1, 2)
    found = json.loads(Path("out/scores.json").read_text(encoding="utf-8"))
    assert found["weighting"] == "channel"  # the default
    assert (found["in_sample"], found["groups"], found["score_is"]) == (False, 2, "probability")
    assert (found["interactions"], found["first_clicks"]) == (72, 12)
    assert found["versions"]["recbole"] == "1.2.1"
    assert found["config"]["plant"] == "clickbait:0.3"
    # the figures are those of the file, rivals included
    of_file = measure(pd.read_csv("out/scores.csv"))
    for name, figures in of_file.items():
        assert found["figures"][name]["auroc"] == pytest.approx(figures.auroc, abs=0.01)
    shown = capsys.readouterr().out
    assert "weighting channel, out of sample, 2 groups of users, seed 7" in shown
    assert "scored: 72 training interactions of 12 users; 12 first clicks have no history" in shown
    for what in ("AUROC", "average precision", "a large loss", "a popular item", "few clicks"):
        assert what in shown
    assert shown.endswith("scores: out/scores.csv\n")


def test_without_truth_there_are_scores_and_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    write_inter("plain", clicks())
    assert main(["score", *words(weighting="atjt", atjt_evidence="likelihood"), "--in_sample"]) == 0
    shown = capsys.readouterr().out
    assert "weighting atjt, in sample, seed 7" in shown
    assert "AUROC" not in shown
    assert json.loads(Path("out/scores.json").read_text())["figures"] == {}
    assert "is_noise" not in pd.read_csv("out/scores.csv")


def test_the_same_seed_gives_the_same_file() -> None:
    write_inter("plain", clicks())
    files = []
    for folder in ("one", "two"):
        assert main(["score", *words(output_dir=folder)]) == 0
        files.append(Path(folder, "scores.csv").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "weighting", [name for name, strategy in STRATEGIES.items() if strategy is not None]
)
@pytest.mark.parametrize("in_sample", [False, True])
def test_each_strategy_scores(weighting: str, in_sample: bool) -> None:
    rows = [[*row, 5 - (number % 5)] for number, row in enumerate(clicks())]
    header = ["user_id:token", "item_id:token", "timestamp:float", "rating:float"]
    write_inter("rated", rows, header)
    config = config_of(
        "rated", epochs=2, weighting=weighting, clean_eval={"rating": "[2,inf)"}, dnr_epochs=1
    )
    found = score_interactions(config, in_sample)
    score, weight = (found.table[name].to_numpy() for name in ("score", "weight"))
    assert ((score >= 0) & (score <= 1)).all()
    assert (found.table["epochs"] >= 1).all()
    if found.by == "rank":  # the smaller the weight, the higher the score; equal ones alike
        order = np.argsort(weight, kind="stable")
        assert (np.diff(score[order]) <= 1e-12).all()
        assert score.mean() == pytest.approx(0.5)
    else:
        assert weighting in ("channel", "atjt", "wat", "dnr")
    if weighting == "oracle":
        assert found.figures["score"].auroc == 1.0


def test_a_rank_is_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four clicks that weigh 2, 1, 1 and 0: ranks from the top 1, 2.5, 2.5 and 4, less half."""
    tally = scored.Tally(4)
    tally.has_noise, tally.epochs = False, np.ones(4, dtype=int)
    tally.sums[1] = [2, 1, 1, 0]
    base = pd.DataFrame({"user": list("aabb"), "item": list("wxyz"), "time": "", "line": range(4)})
    origin = scored.Origin(Path("x"), base, pd.DataFrame(), np.array([3, 2, 1, 0]))
    found = scored._table(origin, tally)
    assert list(found["score"]) == [7 / 8, 1 / 2, 1 / 2, 1 / 8]
    assert list(found["item"]) == list("zyxw")  # the order of the file


def test_a_strategy_of_another_package_scores(tmp_path: Path) -> None:
    write_inter("plain", clicks())
    with announced(tmp_path / "site"):
        found = score_interactions(config_of("plain", epochs=2, weighting="theirs"))
    assert found.by == "rank"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weighting": "none"}, "weighting=none weighs nothing, so that there is nothing to score"),
        ({"weighting": "erm_revised"}, "weighting=erm_revised weighs nothing"),
        ({"weighting": "chanel"}, "weighting=chanel is unknown, did you mean 'channel'?"),
        ({"model": "FPMC"}, "model=FPMC knows users by their ids"),
        ({"format": "xlsx"}, "format=xlsx is unknown: use csv or parquet"),
        ({"groups": "1"}, "groups=1 is not a whole number of at least 2"),
        ({"groups": "two"}, "groups=two is not a whole number of at least 2"),
        ({"groups": "13"}, "groups=13 is more than the 12 users with training sequences"),
        ({"in_sample": "maybe"}, "in_sample=maybe is neither True nor False"),
        ({"epohcs": "2"}, "key 'epohcs' is unknown, did you mean 'epochs'?"),
        ({"dataset": "plian"}, "dataset 'plian' not found"),
        ({"output_dir": "data/plain/plain.inter"}, "can't be written to"),
        ({"model": None}, "model is missing"),
        ({"epochs": 1}, "epochs=1 ends before weighting=channel says anything"),
    ],
)
def test_what_is_wrong_is_one_line(
    given: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inter("plain", clicks())
    assert main(["score", *words(**given)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_parquet_without_pyarrow_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inter("plain", clicks())
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    monkeypatch.setattr(scored, "train_fold", None)  # nothing is trained
    assert main(["score", *words(format="parquet")]) == 2
    message = "format=parquet needs pyarrow: pip install pyarrow, or use csv"
    assert message in capsys.readouterr().err


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet_goes_round() -> None:
    write_inter("plain", clicks())
    found = score_interactions(config_of("plain", epochs=2)).table
    for suffix in ("csv", "parquet"):
        write_scores(found, Path(f"scores.{suffix}"))
    one, other = (read_scores(Path(f"scores.{suffix}")) for suffix in ("csv", "parquet"))
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-5)


@pytest.mark.parametrize("given", [[], ["--output_dir=a/out"]])
def test_a_call_that_fails_leaves_no_folder(given: list[str]) -> None:
    assert main(["score", "--model=GRU4Rec", "--dataset=nowhere", *given]) == 2
    assert not list(Path().rglob("runs"))
    assert not list(Path().rglob("out"))
