"""The file of finished cells: half lines, claims of the dead, several writers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

import pytest

from recbole_atjt.bench.journal import Journal
from recbole_atjt.errors import UsageError
from tests.benches import bench, line

ROOT = Path(__file__).resolve().parent.parent
FILE = Path("cells.jsonl")
CLAIM = """
import sys, time
from pathlib import Path
from recbole_atjt.bench.journal import Journal
journal = Journal(Path("cells.jsonl"))
print(journal.claim(sys.argv[1]), flush=True)
time.sleep(60)
"""
WRITE = """
import sys
from pathlib import Path
from recbole_atjt.bench.journal import Journal
journal = Journal(Path("cells.jsonl"))
for number in range(40):
    names = ("model", "dataset", "plant", "strategy", "weighting", "settings")
    journal.append({**dict.fromkeys(names, "x" * 500), "seed": f"{sys.argv[1]}-{number}"})
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


@pytest.fixture
def opened() -> Iterator[Callable[..., Journal]]:
    """Return a function that opens a journal, which is closed after the test."""
    with ExitStack() as stack:
        yield lambda path=FILE: stack.enter_context(Journal(path))


Opened = Callable[..., Journal]


def some_lines() -> list[dict[str, Any]]:
    return [line(cell, 0.5) for cell in bench().cells]


def test_lines_come_back_as_they_were_written(opened: Opened) -> None:
    journal, lines = opened(Path("new/folder") / FILE), some_lines()
    assert journal.lines() == []
    for one in lines:
        journal.append(one)
    assert journal.lines() == lines


@pytest.mark.parametrize("kept", [1, 50, -1])
def test_half_a_line_is_none_and_is_taken_away(kept: int, opened: Opened) -> None:
    journal, lines = opened(), some_lines()
    journal.append(lines[0])
    torn = (json.dumps(lines[1]) + "\n").encode()[:kept]
    with FILE.open("ab") as file:
        file.write(torn)
    assert journal.lines() == lines[:1]
    journal.append(lines[2])
    assert journal.lines() == [lines[0], lines[2]]
    assert FILE.read_bytes().count(b"\n") == 2
    assert all(json.loads(text) for text in FILE.read_text().splitlines())


def test_a_file_of_something_else_is_refused_and_left_alone(opened: Opened) -> None:
    for text in ("hello\n", "[1]\n", '{"model": "x"}\n'):
        FILE.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"cells\.jsonl line 1 is no finished cell"):
            opened().lines()
        assert FILE.read_text(encoding="utf-8") == text


def test_a_folder_that_cannot_be_written_to() -> None:
    with pytest.raises(UsageError, match="can't be written to"):
        Journal(Path("/proc/no/cells.jsonl"))


@pytest.mark.slow
def test_a_claim_dies_with_its_process(opened: Opened) -> None:
    process = started(CLAIM, "a")
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    journal = opened()
    assert not journal.claim("a")
    assert journal.claim("b")
    other = started(CLAIM, "b")
    assert other.stdout is not None
    assert other.stdout.readline() == "False\n"
    other.kill()
    process.send_signal(signal.SIGKILL)
    process.wait()
    other.wait()
    assert journal.claim("a")
    journal.release("b")
    third = started(CLAIM, "b")
    assert third.stdout is not None
    assert third.stdout.readline() == "True\n"
    third.kill()
    third.wait()
    for one in (process, other, third):
        assert one.stdout is not None
        one.stdout.close()


@pytest.mark.slow
def test_writers_do_not_mix_their_lines(opened: Opened) -> None:
    writers = [started(WRITE, name) for name in "abc"]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    seeds = [one["seed"] for one in opened().lines()]
    assert sorted(seeds) == sorted(f"{name}-{number}" for name in "abc" for number in range(40))
