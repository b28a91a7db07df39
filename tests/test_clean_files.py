"""``clean``: what is left out, what stays to the byte, what is refused, and who can read it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

import recbole_atjt
from recbole_atjt.cli import main
from recbole_atjt.data.files import dataset_folder
from recbole_atjt.errors import UsageError
from recbole_atjt.scoring.cleaning import clean_dataset
from recbole_atjt.scoring.scored import score_interactions
from recbole_atjt.scoring.writing import make_folder, write
from tests.planted import fingerprint
from tests.scores import HEADER, clicks, config_of, keys, write_inter
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent


def scores_of(file: Path, chosen: dict[int, float], name: str = "scores.csv") -> Path:
    """Write scores of some lines of a file, by what the lines say."""
    rows = file.read_text(encoding="utf-8").split("\n")
    table = [
        {"user": cells[0], "item": cells[1], "time": cells[2], "score": score, "line": line}
        for line, score in chosen.items()
        for cells in [rows[line - 1].split("\t")]
    ]
    path = Path("scores") / name
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def odd_file() -> Path:
    """Write a file whose values a careless reader would change."""
    notes = ['say "hi', "NA", "", "1.0", "007", "null", " spaced ", "é'\\"]
    rows = [[*row, notes[number % 8]] for number, row in enumerate(clicks())]
    file = write_inter("odd", rows, [*HEADER, "note:token"])
    text = file.read_text(encoding="utf-8").replace("u03\ti", "\nu03\ti", 1)  # a blank line
    file.write_text(text.removesuffix("\n"), encoding="utf-8")  # and no line end at the end
    (file.parent / "odd.item").write_text("item_id:token\tname:token\ni1\té\n", encoding="utf-8")
    (file.parent / "odd.user").write_bytes(b"user_id:token\tage:float\r\nu01\t3\r\n")
    (file.parent / "other.inter").write_text("not ours\n", encoding="utf-8")
    return file


def test_rows_and_files_stay_to_the_byte() -> None:
    file = odd_file()
    before = fingerprint(file.parent)
    lines = file.read_bytes().split(b"\n")
    last = len(lines)
    scores = scores_of(file, {2: 0.9, 7: 0.2, 20: 0.8, last: 0.95, 3: 0.5})
    done = clean_dataset(scores, "odd", "made/new", "data", above=0.5)
    assert fingerprint(file.parent) == before
    gone = {2, 20, last}
    kept = [line for number, line in enumerate(lines, 1) if number not in gone]
    assert done.file.read_bytes() == b"".join(line + b"\n" for line in kept)
    out = [lines[0], *(lines[number - 1] for number in sorted(gone))]
    assert done.left_out.read_bytes() == b"\n".join(out)
    assert {path.name for path in Path("made/new").iterdir()} == {
        "new.inter",
        "new.item",
        "new.user",
        "left_out.inter",
    }
    for suffix in ("item", "user"):
        copied = Path(f"made/new/new.{suffix}").read_bytes()
        assert copied == (file.parent / f"odd.{suffix}").read_bytes()
    assert [path.name for path in Path("made").iterdir()] == ["new"]  # nothing half is left


def test_lines_of_windows_and_other_encodings() -> None:
    file = write_inter("latin", [[*row, "é"] for row in clicks()], [*HEADER, "note:token"])
    text = file.read_text(encoding="utf-8").replace("\n", "\r\n")
    file.write_bytes(text.encode("latin-1"))
    lines = file.read_bytes().split(b"\r\n")
    scores = Path("scores/scores.csv")
    scores.parent.mkdir()
    user, item, *_ = lines[4].decode("latin-1").split("\t")
    scores.write_text(f"user,item,score,line\n{user},{item},0.9,5\n")
    summary = {"dataset": "latin", "file": "latin.inter", "config": {"encoding": "latin-1"}}
    (scores.parent / "scores.json").write_text(json.dumps(summary))
    done = clean_dataset(scores, "latin", "made/new", "data", share=0.9)
    assert done.file.read_bytes() == b"\r\n".join([*lines[:4], *lines[5:]])
    assert done.left_out.read_bytes() == b"\r\n".join([lines[0], lines[4], b""])


def scored(name: str = "plain", **changes: Any) -> Path:
    found = score_interactions(config_of(name, epochs=2, **changes))
    make_folder(Path("scores"))
    return write(found, Path("scores"), "csv")


def test_validation_and_test_and_first_clicks_stay() -> None:
    file = write_inter("plain", clicks())
    scores = scored()
    done = clean_dataset(scores, "plain", "made/new", "data", share=0.99, min_user_inter=1)
    left = done.file.read_text().split("\n")[1:-1]
    table, others = pd.read_csv(scores), pd.read_csv("scores/unscored.csv")
    lines = file.read_text().split("\n")
    assert len(left) == 36 + 1  # first, validation and test of 12 users, and one of 72
    assert {lines[number - 1] for number in others["line"]} <= set(left)
    assert set(done.left_out.read_text().split("\n")[1:-1]) <= {
        lines[number - 1] for number in table["line"]
    }


def test_a_split_by_ratio_does_not_move() -> None:
    """The ready splits have the targets of validation and test that were not scored."""
    write_inter("plain", clicks(length=21))
    ratio = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
    scores = scored(eval_args=ratio)
    done = clean_dataset(scores, "plain", "data/new", "data", share=0.5, ready_splits=True)
    assert done.ready == ["train", "valid", "test"]
    before = targets(config_of("plain", eval_args=ratio))
    ready = config_of("new", benchmark_filename=done.ready)
    assert targets(ready)[1:] == before[1:]
    assert len(targets(ready)[0]) == len(before[0]) - len(done.choice.lines)
    assert targets(ready)[0] < before[0]
    assert targets(config_of("new", eval_args=ratio))[1:] != before[1:]  # or else they would


def targets(config: Any) -> list[set[tuple[str, str, float]]]:
    loaders = recbole_atjt.prepare_loaders(config, recbole_atjt.create_dataset(config))
    found = []
    for loader in loaders:
        part = loader._dataset
        feat = part.inter_feat
        user, item = (part.id2token(name, feat[name].numpy()) for name in ("user_id", "item_id"))
        found.append(set(zip(user.tolist(), item.tolist(), feat["timestamp"].tolist())))
    return found


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_plain_recbole_reads_it(model: str) -> None:
    write_inter("plain", clicks())
    clean_dataset(scored(), "plain", "data/new", "data", share=0.3)
    given = keys(load_col={"inter": ["user_id", "item_id", "timestamp"]})
    given = {k: v for k, v in given.items() if not k.startswith(("atjt", "weighting"))}
    if model == "SASRec":
        given["train_neg_sample_args"] = None
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model=model, dataset="new", config_dict=given)
    train, _, test = data_preparation(config, create_dataset(config))
    assert len(next(iter(train))) > 0
    assert len(test._dataset) == 12


def test_one_of_several_ready_splits() -> None:
    rows = sorted(clicks(), key=lambda row: row[2])
    parts = {"train": rows[:84], "valid": rows[84:96], "test": rows[96:]}
    for name, each in parts.items():
        write_inter("split", each, part=f".{name}")
    scores = scored("split", benchmark_filename=list(parts))
    done = clean_dataset(scores, "split", "made/new", "data", share=0.2)
    assert done.file.name == "new.train.inter"
    for name in ("valid", "test"):
        one, other = Path(f"made/new/new.{name}.inter"), Path(f"data/split/split.{name}.inter")
        assert one.read_bytes() == other.read_bytes()
    assert len(done.file.read_text().split("\n")) == 84 + 2 - len(done.choice.lines)
    with pytest.raises(UsageError, match=r"split\.train\.inter is a ready split already"):
        clean_dataset(scores, "split", "made/two", "data", share=0.2, ready_splits=True)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    file = write_inter("plain", clicks())
    scores = scores_of(file, {5: 0.9, 9: 0.8, 30: 0.1})
    (scores.parent / "unscored.csv").write_text("line,part\n2,first\n100,valid\n101,test\n")
    given = ["--dataset=plain", "--data_path=data", f"--scores={scores}", "--output_dir=made/new"]
    assert main(["clean", *given, "--above=0.5", "--ready_splits"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "left out: 2 of 3 scored interactions (66.7%) of 2 users, scores 0.8 and higher",
        "left out: made/new/left_out.inter",
        "written: made/new/new.inter",
        "ready splits: --benchmark_filename=[train,valid,test]",
    ]


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "no scores": ({"scores": "nothing.csv"}, "scores=nothing.csv can't be read: No such file"),
    "a folder": ({"scores": "data"}, "scores=data can't be read: Is a directory"),
    "both": ({"share": "0.2"}, "give either --above=THRESHOLD or --share=SHARE"),
    "neither": ({"above": None}, "give either --above=THRESHOLD or --share=SHARE"),
    "no number": ({"above": "high"}, "above=high is out of range"),
    "over the original": ({"output_dir": "data/plain"}, "lies in data/plain, the original"),
    "inside it": ({"output_dir": "data/plain/new"}, "lies in data/plain, the original"),
    "by a detour": ({"output_dir": "data/../data/plain/x"}, "lies in data/plain, the original"),
    "there already": ({"output_dir": "data"}, "output_dir=data exists already"),
    "a built-in name": ({"output_dir": "made/ml-100k"}, "from its own copy only"),
    "a name in use": ({"output_dir": "made/left_out"}, "left_out is the name of another file"),
    "no place": ({"output_dir": "data/plain.txt/x"}, "can't be written to"),
    "no dataset": ({"dataset": "plian"}, "dataset 'plian' not found"),
    "a word": ({"minimum": "3"}, "key 'minimum' is unknown"),
    "not ready": ({"ready_splits": "True"}, "ready_splits needs scores/unscored.csv beside"),
    "no switch": ({"ready_splits": "x"}, "ready_splits=x is neither True nor False"),
}


@pytest.mark.parametrize(("changes", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_wrong_is_one_line(
    changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_inter("plain", clicks())
    Path("data/plain.txt").write_text("a file\n")
    before = fingerprint(Path("data"))
    given = {
        "scores": str(scores_of(file, {5: 0.9})),
        "dataset": "plain",
        "data_path": "data",
        "output_dir": "made/new",
        "above": "0.5",
        **changes,
    }
    words = [f"--{key}={value}" for key, value in given.items() if value is not None]
    assert main(["clean", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert fingerprint(Path("data")) == before
    assert not Path("made/new").exists()


TABLES: dict[str, tuple[str, str]] = {
    "no table": ("\x00\x01", "has no column 'user'"),
    "empty": ("", "is no table of scores"),
    "a column is missing": ("user,item,line\nu00,i0,2\n", "has no column 'score'; it has user,"),
    "no number": ("user,item,score,line\nu00,i0,high,2\n", "row 1 has score high, which is no"),
    "nothing": ("user,item,score,line\nu00,i0,,2\n", "which is no number in [0, 1]"),
    "nan": ("user,item,score,line\nu00,i0,nan,2\n", "row 1 has score nan"),
    "above 1": ("user,item,score,line\nu00,i0,1.5,2\n", "row 1 has score 1.5, which is no number"),
    "the header": ("user,item,score,line\nu00,i0,0.5,1\n", "row 1 is of no line of a file"),
    "half a line": ("user,item,score,line\nu00,i0,0.5,2.5\n", "row 1 is of no line of a file"),
    "added": ("user,item,score,line\nu00,i0,0.5,\n", "plant as a command writes one"),
    "twice": ("user,item,score,line\nu00,i0,0.5,2\nu00,i0,0.6,2\n", "line 2 has two scores"),
    "no such line": ("user,item,score,line\nu00,i0,0.5,999\n", "is of another file: it has user"),
    "another item": ("user,item,score,line\nu00,i9,0.5,2\n", "has item 'i9' in line 2 of"),
    "another user": ("user,item,score,line\nu01,i0,0.5,2\n", "has user 'u01' in line 2 of"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_scores_that_are_none(text: str, message: str) -> None:
    write_inter("plain", clicks())
    Path("scores.csv").write_text(text)
    with pytest.raises(UsageError) as error:
        clean_dataset("scores.csv", "plain", "made/new", "data", above=0.4)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        ("{", "can't be read"),
        ("[]", "is no description of scores"),
        ('{"file": "../../etc/passwd"}', "is no description of scores"),
        ('{"config": 3}', "is no description of scores"),
        ('{"dataset": "other"}', "dataset=plain: the scores are of dataset 'other'"),
    ],
)
def test_descriptions_that_are_none(summary: str, message: str) -> None:
    file = write_inter("plain", clicks())
    scores = scores_of(file, {5: 0.9})
    (scores.parent / "scores.json").write_text(summary)
    with pytest.raises(UsageError) as error:
        clean_dataset(scores, "plain", "made/new", "data", above=0.4)
    assert message in str(error.value)


def test_scores_of_planted_runs_are_not_of_the_file() -> None:
    write_inter("plain", clicks())
    scores = scored(plant="uniform:0.3")
    with pytest.raises(UsageError, match=r"is of another file: .*plant as a command writes one"):
        clean_dataset(scores, "plain", "made/new", "data", share=0.2)
    scores = scored(plant="insert:0.3")
    with pytest.raises(UsageError, match="clicks that a run adds by plant are in no file"):
        clean_dataset(scores, "plain", "made/new", "data", share=0.2)


def test_the_built_in_dataset_is_found() -> None:
    assert (dataset_folder("ml-100k") / "ml-100k.inter").is_file()
    assert dataset_folder("x") == Path("dataset/x")
    assert dataset_folder("x", "y") == Path("y/x")


@pytest.mark.slow
def test_the_benchmark_of_cleaning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three trainings are tested on the same clicks; the truth leaves out all noise, first too."""
    file = write_inter("plain", [*clicks(length=15), ["once", "i1", "1000"]])
    before = fingerprint(file.parent)
    split = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
    settings = keys(epochs=2, eval_args=split, user_inter_num_interval="[5,inf)")
    del settings["weighting"], settings["seed"]
    Path("short.yaml").write_text(yaml.safe_dump(settings))
    given = ["--dataset=plain", "--data_path=data", "--config_files=short.yaml", "--seed=1,2"]
    monkeypatch.setattr(sys, "argv", ["cleaning.py", *given, "--plant=uniform:0.4"])
    load_script(ROOT / "benchmarks" / "cleaning.py").main()
    assert fingerprint(file.parent) == before
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found["seeds"]) == ["1", "2"]
    for each in found["seeds"].values():
        assert each["truth_left_out"] == 58  # 40 % of 12 of each user's 15 clicks
        assert each["items"]["planted"] >= each["items"]["truth"]
