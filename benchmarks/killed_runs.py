"""Does a training that is killed again and again end as an unbroken one? Weights bit for bit.

``python benchmarks/killed_runs.py [--kills=20] [--seed=0] [--steps=20] [--weightings=none,...]``
trains each strategy unbroken, then again, with the state kept every so many steps, while killing
the command with SIGKILL at random moments and going on with ``--resume``, and compares the weights
of the best model and what ``result.json`` says, times and paths left out. Every tenth signal is a
SIGTERM, which has to end in one line. Then a full disk: a training on a small file system that is
filled at random moments after its first state, and freed before it goes on; the last state and the
best model have to load each time. ``--weightings= --kills=0`` does this alone. The last line is
JSON; the exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from recbole_atjt.checkpoint import load_checkpoint  # noqa: E402

#: Share of the signals that come at any moment, the start included.
ANY_MOMENT = 0.25
#: Bytes of the file system that is filled.
DISK = 64 * 2**20
WEIGHTINGS = "none,atjt,dnr,channel,autodenoise_s"
SETTINGS = {
    "model": "SASRec",
    "dataset": "planted-noise",
    "data_path": ROOT / "dataset",
    "epochs": 6,
    "stopping_step": 10,
    "train_batch_size": 128,
    "hidden_size": 16,
    "inner_size": 16,
    "MAX_ITEM_LIST_LENGTH": 10,
    "dnr_epochs": 1,
    "show_progress": False,
}


def main() -> int:
    """Run all, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--weightings", default=WEIGHTINGS)
    parser.add_argument("--full", type=int, default=5, help="times that the disk is full")
    given = parser.parse_args()
    SETTINGS["checkpoint_steps"] = given.steps
    names = [name for name in given.weightings.split(",") if name]
    chance = random.Random(given.seed)
    table, signals = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            kills = (given.kills + number) // len(names) if len(names) > 1 else given.kills
            found = compare(Path(folder) / name, name, kills, chance, signals)
            signals += found["signals"]
            table.append(found)
            print(json.dumps(found), flush=True)
        table.append(full_disk(Path(folder) / "full", given.full, chance))
        print(json.dumps(table[-1]), flush=True)
    identical = all(row["identical"] for row in table)
    print(json.dumps({"signals": signals, "identical": identical, "rows": len(table)}))
    return int(not identical or signals < given.kills)


def compare(
    folder: Path, weighting: str, kills: int, chance: random.Random, before: int
) -> dict[str, Any]:
    """Train unbroken and killed; tell whether both ended alike."""
    whole, broken = folder / "whole", folder / "broken"
    start = time.monotonic()
    assert started(folder, weighting, whole).wait() == 0
    seconds = time.monotonic() - start
    done, epochs, lines = 0, [], []
    while done < kills:
        process = started(folder, weighting, broken)
        at_random(process, broken, seconds, chance)
        if process.poll() is not None:  # it ended before the signal: begin anew
            assert process.returncode == 0, (folder / "errors").read_text()
            remove(broken)
            continue
        asked = signal.SIGTERM if (before + done) % 10 == 9 else signal.SIGKILL
        process.send_signal(asked)
        code = process.wait()
        done += 1
        epochs.append(last_state(broken))
        if asked == signal.SIGTERM:
            lines.append(code == 143 and ends_in_one_line(folder, "recbole-atjt: interrupted"))
    assert started(folder, weighting, broken).wait() == 0
    return {
        "weighting": weighting,
        "signals": done,
        "last epoch kept at each, and steps": epochs,
        "SIGTERM in one line": lines,
        "identical": same(whole, broken) and all(lines),
    }


def at_random(
    process: subprocess.Popen[bytes], output: Path, seconds: float, chance: random.Random
) -> None:
    """Wait for a random moment: any at all, or one soon after the next state was written."""
    if chance.random() < ANY_MOMENT:
        pause(process, chance.uniform(0, seconds))
    else:
        after_a_state(process, output, seconds, chance)


def after_a_state(
    process: subprocess.Popen[bytes], output: Path, seconds: float, chance: random.Random
) -> None:
    """Wait for the next state to be written, and a random moment more."""
    before, latest = written(output), time.monotonic() + 3 * seconds
    while written(output) == before and process.poll() is None:
        assert time.monotonic() < latest
        time.sleep(0.01)
    pause(process, chance.uniform(0, seconds / 8))


def pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait, while a process runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)


def written(output: Path) -> list[tuple[str, int]]:
    """Return the states that there are, by name and time."""
    files = sorted(output.glob("checkpoints/*.last.safetensors"))
    return [(path.name, path.stat().st_mtime_ns) for path in files]


class Disk:
    """A small file system that can be filled: a tmpfs where this may be mounted, else a limit.

    The limit is what a file of the training may grow to (``RLIMIT_FSIZE``), set while it runs.

    Args:
        folder: Where it is; made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self._filler = folder, folder / "filler"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
        self.mounted = subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def fill(self, left: int, process: subprocess.Popen[bytes]) -> None:
        """Leave so many bytes to a process."""
        if not self.mounted:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (left, left))
            return
        found = os.statvfs(self._folder)
        with self._filler.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(found.f_bavail * found.f_bsize - left, 1))

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the file system away."""
        if self.mounted:
            subprocess.run(["umount", str(self._folder)], check=True)


def full_disk(folder: Path, times: int, chance: random.Random) -> dict[str, Any]:
    """Fill the disk of a training after its first state, free it, go on, and so again."""
    whole, disk = folder / "whole", Disk(folder / "disk")
    broken = folder / "disk" / "broken"
    start = time.monotonic()
    assert started(folder, "atjt", whole).wait() == 0
    seconds = time.monotonic() - start
    biggest = max(path.stat().st_size for path in whole.rglob("*.safetensors"))
    kept, lines = [], []
    try:
        while len(kept) < times:
            process = started(folder, "atjt", broken)
            after_a_state(process, broken, seconds, chance)
            disk.fill(chance.randint(0, biggest), process)
            code = process.wait()
            disk.free()
            if code == 0:  # it ended before the disk was full: begin anew
                remove(broken)
                continue
            kept.append(last_state(broken))  # each has to load, and so has the best model
            loads = [load_checkpoint(path).meta for path in broken.rglob("*.safetensors")]
            lines.append(bool(loads) and ends_in_one_line(folder))
        assert started(folder, "atjt", broken).wait() == 0
        identical = same(whole, broken) and all(lines) and None not in kept
    finally:
        disk.close()
    return {
        "full disk": "tmpfs" if disk.mounted else "limit of a file",
        "times": len(kept),
        "last epoch kept at each, and steps": kept,
        "in one line": lines,
        "identical": identical,
    }


def started(folder: Path, weighting: str, output: Path) -> subprocess.Popen[bytes]:
    """Start the command, or go on with what it left."""
    folder.mkdir(parents=True, exist_ok=True)
    if (output / "calls.json").is_file():
        words = [f"--resume={output}"]
    else:
        words = [f"--{key}={value}" for key, value in SETTINGS.items()]
        words += [f"--weighting={weighting}", f"--output_dir={output}"]

    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_atjt.py"), *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors").open("wb"),
    )


def last_state(output: Path) -> list[int] | None:
    """Return the epoch of the last state, and the steps that follow it; it has to load."""
    files = list(output.glob("checkpoints/*.last.safetensors"))
    if not files:
        return None
    meta = load_checkpoint(files[0]).meta
    return [int(meta["epoch"]), (meta["inside"] or {}).get("batch", 0)]


def ends_in_one_line(folder: Path, start: str = "recbole-atjt: ") -> bool:
    """Tell whether the command ended in one line, and without a traceback."""
    text = (folder / "errors").read_text(encoding="utf-8")
    return "Traceback" not in text and start in text.splitlines()[-1]


def same(one: Path, other: Path) -> bool:
    """Tell whether two folders hold the same models, to the bit, and the same result."""
    files = [
        sorted(path.name for path in (each / "checkpoints").iterdir()) for each in (one, other)
    ]
    if files[0] != files[1]:
        return False
    for name in files[0]:
        states = [load_checkpoint(each / "checkpoints" / name).model_state for each in (one, other)]
        if states[0].keys() != states[1].keys():
            return False
        if not all(torch.equal(states[0][key], states[1][key]) for key in states[0]):
            return False
    return results(one) == results(other)


def results(folder: Path) -> list[dict[str, Any]]:
    """Return the runs of a result.json without times and paths."""
    runs = json.loads((folder / "result.json").read_text(encoding="utf-8"))["runs"]
    left_out = ("seconds", "checkpoint", "config")
    return [{key: value for key, value in run.items() if key not in left_out} for run in runs]


def remove(folder: Path) -> None:
    """Remove a folder of a call."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
