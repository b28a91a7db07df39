"""``--help=NAME``, lists and the version: what there is, in the terminal's width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_atjt import UsageError
from recbole_atjt.cli import main
from recbole_atjt.commands.explain import explained
from recbole_atjt.commands.layout import described, fitted, in_columns
from recbole_atjt.commands.table import COMMANDS
from recbole_atjt.model.table import find_model, registered_models, trained_models
from recbole_atjt.version import __version__
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import strategy_keys, strategy_names


@pytest.fixture(autouse=True)
def _of_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    return out


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("item", explained_keys(), ids=lambda item: item.key)
def test_a_key_of_ours_is_explained(item: object, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, f"--help={item.key}")  # type: ignore[attr-defined]
    assert item.text in flat(text)  # type: ignore[attr-defined]
    assert f"default {item.default}" in flat(text)  # type: ignore[attr-defined]
    assert re.search(r"read in\s+recbole_atjt/", text)


def test_values_and_owners_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    text = flat(shown(capsys, "--help=atjt_replace"))
    assert "values history, target, both of atjt, wat, dnr" in text
    assert "read in recbole_atjt/weighting/recognition.py" in text
    assert "a number inside [0, 1)" in flat(shown(capsys, "--help=channel_share"))
    assert "auto, or a number inside [0, 1)" in flat(shown(capsys, "--help=atjt_noise_rate"))
    assert "values True, False" in flat(shown(capsys, "--help=channel_learn"))


def test_a_key_of_recbole_has_its_default_and_its_readers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = flat(shown(capsys, "--help=epochs"))
    assert "default 300" in text
    assert "at least 1" in text
    assert "read in recbole/trainer/trainer.py" in text
    assert "properties/quickstart.yaml: 8" in text
    assert "adagrad" in flat(shown(capsys, "--help=learner"))


@pytest.mark.parametrize("name", strategy_names())
def test_a_strategy_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, f"--help={name}")
    for item in strategy_keys(name):
        assert f"--{item.key}={item.default}" in text


def test_a_model_has_the_defaults_that_it_is_trained_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, "--help=SASRec")
    assert re.search(r"n_layers +2\n", text)
    assert re.search(r"loss_type +CE\n", text)
    assert "--ael_top_k=2" in shown(capsys, "--help=AEL")


@pytest.mark.parametrize("name", sorted(registered_models()))
def test_every_model_is_explained(name: str) -> None:
    assert explained(name).startswith(f"--model={name}: a")


def test_an_unknown_name_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--help=topkk"]) == 2
    assert capsys.readouterr().err == (
        "recbole-atjt: help=topkk is no key, strategy or model, did you mean 'topk'?; --help lists "
        "ours\n"
    )


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--version") == f"recbole_atjt {__version__}\n"


def test_models_lists_what_is_trained_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    words = shown(capsys, "models").replace(",", " ").split()
    listed = {name for names in trained_models().values() for name in names}
    assert listed <= {*words}
    for name, model in registered_models().items():
        try:
            assert find_model(name) is model
        except UsageError:
            assert name not in listed
        else:
            assert name in listed


def test_strategies_lists_them_with_their_rules(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "strategies")
    for name in strategy_names():
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)


def test_datasets_lists_those_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/mine").mkdir(parents=True)
    Path("data/mine/mine.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    Path("data/parts").mkdir()
    for part in ("train", "test"):
        Path(f"data/parts/parts.{part}.inter").write_text("user_id:token\trating:float\n1\t2\n")
    text = shown(capsys, "datasets", "--data_path=data")
    assert re.search(r"^  mine +0\.0 MB: user_id, item_id$", text, re.MULTILINE)
    assert re.search(r"^  parts +0\.0 MB in 2 files: user_id, rating$", text, re.MULTILINE)
    assert "ml-20m" in text
    assert main(["datasets", "--data_path=nowhere"]) == 2
    assert "data_path=nowhere is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_help_fits(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    usage = lines.index("")  # how to call it is written by hand, for 80
    assert max(map(len, lines[usage:])) <= width
    assert max(map(len, lines)) <= 80 or width > 80


def test_layout_keeps_every_word() -> None:
    names = [f"name{number}" for number in range(23)]
    assert sorted(in_columns(names, 30).split()) == sorted(names)
    assert in_columns(["a" * 90], 30).split() == ["a" * 90]
    rows = [("a", "one two three four")]
    assert described(rows, 12).splitlines() == ["  a  one two", "     three", "     four"]
    text = "usage: x\n\nOne two\nthree.\n\n  --a  b c\n       d\n  --long  e"
    assert fitted(text, 11) == ("usage: x\n\nOne two\nthree.\n\n  --a  b c\n       d\n  --long  e")
    assert flat(fitted(text, 200)) == flat(text)
