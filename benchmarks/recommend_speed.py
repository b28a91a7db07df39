"""How long 1,000 users over 27,000 items take, from a checkpoint and in ONNX Runtime; and memory.

    python benchmarks/recommend_speed.py [--threads=2] [--rounds=7]

Clicks are random, SASRec has histories of 50 items and 64 dimensions and is trained for a moment:
its weights change nothing of the time. Rounds are interleaved and the fastest counts, as others may
use the machine; the time that all threads spent on a processor is beside it. Memory is the peak of
the process while it answers, beyond what it had before.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

USERS, ITEMS, CLICKS = 1_000, 27_000, 60
#: Queries of the runs whose memory is measured.
COUNTS = (1_000, 10_000)


def write_clicks(folder: Path) -> None:
    """Write a dataset of random clicks that has every item."""
    rng = np.random.default_rng(7)
    items = np.concatenate([np.arange(ITEMS), rng.integers(0, ITEMS, USERS * CLICKS - ITEMS)])
    rng.shuffle(items)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{n // CLICKS}\ti{item}\t{n % CLICKS}" for n, item in enumerate(items)]
    (folder / "random").mkdir(parents=True)
    (folder / "random" / "random.inter").write_text("\n".join(lines) + "\n")


def train(folder: Path) -> Path:
    """Train for a moment; return the checkpoint."""
    import recbole_atjt

    write_clicks(folder)
    keys = {
        "data_path": str(folder),
        "MAX_ITEM_LIST_LENGTH": 50,
        "hidden_size": 64,
        "epochs": 1,
        "eval_step": 0,
        "show_progress": False,
        "gpu_id": "",
        "eval_args": {
            "split": {"RS": [0.04, 0.04, 0.92]},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
    }
    ready = recbole_atjt.assemble(recbole_atjt.DenoisingConfig("SASRec", "random", None, keys))
    ready.trainer.saved_model_file = str(folder / "SASRec.safetensors")
    ready.trainer.fit(ready.train_data, verbose=False)
    return Path(ready.trainer.saved_model_file)


def users(recommender: Any, count: int) -> list[str]:
    """Return users, over and over."""
    known = recommender.catalogue.users[1:]
    return [known[n % len(known)] for n in range(count)]


def measure(path: Path, rounds: int) -> None:
    """Print the time of a first and of the fastest call, a checkpoint beside ONNX Runtime."""
    from recbole_atjt import Recommender

    start = perf_counter()
    loaded = {"checkpoint": Recommender.load(path)}
    print(f"loaded in {perf_counter() - start:.2f} s")
    loaded["ONNX Runtime"] = Recommender.load(path.with_suffix(".onnx"))
    for exclude_seen in (False, True):
        times: dict[str, list[float]] = {name: [] for name in loaded}
        busy: dict[str, list[float]] = {name: [] for name in loaded}
        for _ in range(rounds):
            for name, recommender in loaded.items():
                start, start_busy = perf_counter(), process_time()
                found = recommender.recommend(
                    users=users(recommender, USERS), k=10, exclude_seen=exclude_seen
                )
                times[name].append(perf_counter() - start)
                busy[name].append(process_time() - start_busy)
                assert len(found) == USERS
                assert all(len(each) == 10 for each in found)
        for name, taken in times.items():
            print(
                f"{name}, exclude_seen={exclude_seen}: {USERS} users x {ITEMS} items in "
                f"{min(taken):.3f} s (first {taken[0]:.3f} s), {min(busy[name]):.3f} s of processor"
            )


def peak(path: Path, count: int) -> None:
    """Print how far memory rises while queries are answered one after another."""
    from recbole_atjt import Recommender
    from recbole_atjt.serving.queries import Query, Unknown

    recommender = Recommender.load(path)
    recommender.recommend(users=users(recommender, 200))  # what is allocated once
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    queries = (Query(user) for user in users(recommender, count))
    answered = sum(1 for _ in recommender.answers(queries, 10, True, Unknown()))
    above = _status("VmHWM") - before
    print(f"{answered} queries: {above / 1024:.0f} MB above {before / 1024:.0f} MB")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def main(arguments: list[str]) -> int:
    """Train, export and measure."""
    given = dict(each[2:].split("=", 1) for each in arguments)
    if "peak" in given:
        peak(Path(given["peak"]), int(given["count"]))
        return 0
    torch.set_num_threads(int(given.get("threads", 2)))
    with tempfile.TemporaryDirectory() as folder:
        path = train(Path(folder))
        from recbole_atjt.serving.export import export

        print(f"largest difference in ONNX: {export(path).parity.difference:.1e}")
        measure(path, int(given.get("rounds", 7)))
        for count in COUNTS:  # a process each: a peak stays
            words = [sys.executable, __file__, f"--peak={path}", f"--count={count}"]
            subprocess.run(words, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
