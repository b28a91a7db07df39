"""Subcommands: found by name, each with its own help, keys and words; the plain call stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recbole_atjt import UsageError
from recbole_atjt.cli import main
from recbole_atjt.commands import train
from recbole_atjt.commands.table import COMMANDS, DEFAULT, divide, load
from recbole_atjt.settings.arguments import read_arguments
from tests.runs import arguments


def test_without_a_subcommand_one_trains() -> None:
    assert DEFAULT == "train"
    assert divide([]) == ("train", [])
    assert divide(["--model=SASRec"]) == ("train", ["--model=SASRec"])
    assert divide(["-h"]) == ("train", ["-h"])
    assert divide(["plant", "--keep=1"]) == ("plant", ["--keep=1"])


def test_train_is_the_call_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def note(given: Any) -> int:
        calls.append(given)
        return 7

    monkeypatch.setattr(train, "run", note)
    words = arguments()
    assert main(words) == main(["train", *words]) == 7
    assert calls == [words, words]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "-h"):
        assert main([name, flag]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("usage: recbole-atjt ")
        assert name in shown.splitlines()[0]
        assert shown.split() == load(name).usage().split()


def test_the_help_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, row in COMMANDS.items():
        assert any(
            line.split(maxsplit=1) == [name, row.summary] for line in shown.splitlines() if line
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["trian"], "command 'trian' is unknown, did you mean 'train'?: use train, "),
        (["zzz", "--model=SASRec"], "command 'zzz' is unknown: use train, "),
        (["plant", "--keeep=1"], "key 'keeep' is unknown, did you mean 'keep'?; see plant --help"),
        (["plant", "--keep=1"], "dataset is missing: give --dataset=VALUE; see plant --help"),
        (["plant", "ml-100k"], "argument 'ml-100k' is not of the form --key=value"),
        (["train", "--epohcs=1"], "key 'epohcs' is unknown, did you mean 'epochs'?"),
    ],
)
def test_what_is_unknown_is_answered_with_the_nearest(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_words_and_switches() -> None:
    read: Callable[..., Any] = read_arguments
    given = read("x", ["a.yaml", "--s", "b", "--k=1"], ("s", "k"), (), ("A", "B"), ("s",))
    assert given.words == ["a.yaml", "b"]
    assert given.values == {"s": "True", "k": "1"}
    assert given.parsed("s") is True
    assert given.parsed("none", 5) == 5
    assert read("x", ["--s=no"], ("s",), switches=("s",)).parsed("s") is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "B is missing: x A B; see x --help"),
        (["a", "b", "c"], "argument 'c' is not of the form"),
        (["a", "b", "-k"], "argument '-k' is not of the form"),
        (["a", "b", "--k"], "argument '--k' has no value"),
        (["a", "b", "--s", "--s"], "key 's' is given twice"),
        (["a", "b", "--j=1"], "key 'j' is unknown"),
    ],
)
def test_words_and_switches_that_are_none(given: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_arguments("x", given, ("s", "k"), (), ("A", "B"), ("s",))
