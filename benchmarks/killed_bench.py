"""Does a bench that is killed again and again end as an unbroken one? Cell by cell.

``python benchmarks/killed_bench.py [--kills=5] [--jobs=1] [--seed=0]`` runs eight small cells
unbroken, then again while killing the command with SIGKILL at random moments, and compares. The
last line is JSON; the exit code is 1 where a cell differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BENCH = """\
models: [GRU4Rec]
datasets: [planted-noise]
plants: [none, "clickbait:0.3"]
strategies: [none, channel]
seeds: [1, 2]
settings: {epochs: 2, embedding_size: 8, hidden_size: 8, MAX_ITEM_LIST_LENGTH: 10, plant_items: 5}
"""


def main() -> int:
    """Run both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), given.kills, given.jobs, random.Random(given.seed))
    print(json.dumps(found))
    return int(not found["equal"] or found["kills"] != given.kills)


def compare(folder: Path, kills: int, jobs: int, chance: random.Random) -> dict[str, Any]:
    """Run a bench unbroken and killed; tell whether the cells are equal."""
    file = folder / "bench.yaml"
    file.write_text(BENCH, encoding="utf-8")
    whole, broken = folder / "whole.jsonl", folder / "broken.jsonl"
    start = time.monotonic()
    assert started(file, whole, 1).wait() == 0
    seconds = time.monotonic() - start
    killed, torn, done = 0, 0, []
    while killed < kills:
        process = started(file, broken, jobs)
        before = len(cells(broken))
        deadline = time.monotonic() + 240  # let it do something before it is killed
        while len(cells(broken)) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left = len(cells(whole)) - len(cells(broken))
        if left > jobs * (kills - killed):  # where few are left the next ones are needed, too
            time.sleep(chance.uniform(0, seconds / 16))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        done.append(len(cells(broken)))
        if killed == 1:  # what a kill in the middle of writing leaves
            with broken.open("ab") as lines:
                lines.write(broken.read_bytes()[:100])
            torn += 1
    assert started(file, broken, jobs).wait() == 0
    lines = [json.loads(line) for line in broken.read_text(encoding="utf-8").splitlines()]
    return {
        "equal": cells(broken) == cells(whole) and len(lines) == len(cells(whole)),
        "cells": len(cells(whole)),
        "kills": killed,
        "torn": torn,
        "finished at each kill": done,
    }


def started(file: Path, output: Path, jobs: int) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [sys.executable, str(ROOT / "run_atjt.py"), "bench", str(file), f"--jobs={jobs}"]
    command += [f"--output={output}", f"--data_path={ROOT / 'dataset'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def cells(path: Path) -> dict[str, Any]:
    """Return the whole lines of a file by what names their cell, without their times."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    named = ("model", "dataset", "plant", "weighting", "seed")
    return {
        str([line[name] for name in named]): {k: v for k, v in line.items() if k != "seconds"}
        for line in lines
    }


if __name__ == "__main__":
    raise SystemExit(main())
