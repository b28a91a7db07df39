"""Time and memory of making, ordering and splitting prefix windows, ours and RecBole's.

    python benchmarks/windows.py --data_path=DIR --dataset=NAME [--max_length=50] [--compare]
    python benchmarks/windows.py --windows=600000 [--users=6000] [--compare]

The files are read, filtered and turned into tensors first; measured is what follows: sort, windows,
time order, leave-one-out split. Memory is the peak of resident memory (VmHWM of /proc/self/status,
reset before) over what was resident before, so that every allocation counts, numpy's, torch's and
Python's alike. RecBole is measured in a process of its own. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SYNTHETIC = "synthetic"


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", help="folder that holds the dataset's folder")
    parser.add_argument("--dataset", help="name of the dataset; without one, made up")
    parser.add_argument("--windows", type=int, default=600_000, help="size of the made-up dataset")
    parser.add_argument("--users", type=int, default=6_000, help="its number of users")
    parser.add_argument("--max_length", type=int, default=50, help="largest length of a history")
    parser.add_argument("--compare", action="store_true", help="measure RecBole too")
    parser.add_argument("--only", choices=("ours", "recbole"), help=argparse.SUPPRESS)
    return parser.parse_args()


def write_synthetic(folder: Path, windows: int, users: int) -> None:
    """Write shuffled interactions of users of about equal activity."""
    draw = np.random.default_rng(0)
    n = windows + users
    user = draw.permutation(np.arange(n) % users)
    item = (draw.pareto(1.0, n) * 50).astype(np.int64) % 20_000
    timestamp = draw.integers(0, 10**6, n)
    folder.mkdir(parents=True)
    with open(folder / f"{SYNTHETIC}.inter", "w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        file.writelines(f"{u}\t{i}\t{t}\n" for u, i, t in zip(user, item, timestamp))


def resident(key: str) -> float:
    """Return VmRSS or VmHWM of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise SystemExit("resident memory is read from /proc/self/status, which is Linux only")


def reset_peak() -> None:
    """Give freed memory back and start the peak anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def load(arguments: argparse.Namespace, library: str) -> tuple[Any, Any]:
    """Load a dataset up to the tensors of its interactions."""
    sys.argv = sys.argv[:1]  # RecBole's Config reads it
    from recbole.config import Config

    import recbole_atjt  # noqa: F401

    if library == "ours":
        from recbole_atjt import create_dataset
    else:
        from recbole.data import create_dataset
    settings = {
        "data_path": arguments.data_path,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": arguments.max_length,
        "train_neg_sample_args": None,
    }
    config = Config(model="SASRec", dataset=arguments.dataset, config_dict=settings)
    dataset = create_dataset(config)
    dataset.inter_feat = dataset._dataframe_to_interaction(dataset.inter_feat)
    dataset._dataframe_to_interaction = lambda feat: feat
    return config, dataset


def measure(arguments: argparse.Namespace, library: str) -> dict[str, Any]:
    """Measure one library in this process."""
    config, dataset = load(arguments, library)
    columns = dataset.inter_feat.interaction.values()
    interactions = sum(column.element_size() * column.nelement() for column in columns) / 2**20
    reset_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    parts = dataset.build()
    seconds, peak = time.perf_counter() - start, resident("VmHWM")
    reset_peak()
    kept = resident("VmRSS")
    from recbole.data.dataloader import TrainDataLoader

    loader = TrainDataLoader(config, parts[0], None, shuffle=True)
    loader_mb = resident("VmRSS") - kept
    start = time.perf_counter()
    batch = next(iter(loader))
    return {
        "seconds": round(seconds, 3),
        "extra_mb": round(peak - before, 1),
        "kept_mb": round(kept - before, 1),
        "loader_mb": round(loader_mb, 1),
        "first_batch_ms": round((time.perf_counter() - start) * 1000, 1),
        "interactions_mb": round(interactions, 1),
        "windows": sum(len(part.inter_feat) for part in parts),
        "max_length": int(batch["item_id_list"].shape[1]),
    }


def measure_apart(arguments: argparse.Namespace, library: str) -> dict[str, Any]:
    """Measure one library in a new process."""
    options = [
        f"--{name}={getattr(arguments, name)}" for name in ("data_path", "dataset", "max_length")
    ]
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, str(Path(__file__).resolve()), *options, f"--only={library}"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.only:
        print(json.dumps(measure(arguments, arguments.only)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.dataset is None:
            arguments.dataset, arguments.data_path = SYNTHETIC, folder
            write_synthetic(Path(folder) / SYNTHETIC, arguments.windows, arguments.users)
        else:
            arguments.data_path = str(Path(arguments.data_path or "dataset").resolve())
        libraries = ["ours", "recbole"] if arguments.compare else ["ours"]
        measured = {library: measure_apart(arguments, library) for library in libraries}
    for library, result in measured.items():
        print(
            f"{library:8} {result['windows']} windows of at most {result['max_length']} over "
            f"{result['interactions_mb']} MB of interactions: {result['seconds']} s, "
            f"+{result['extra_mb']} MB at the peak, +{result['kept_mb']} MB kept; "
            f"RecBole's training loader +{result['loader_mb']} MB, "
            f"first batch {result['first_batch_ms']} ms"
        )
    final = dict(measured["ours"])
    if arguments.compare:
        final["recbole"] = {key: measured["recbole"][key] for key in ("seconds", "extra_mb")}
    print(json.dumps(final))


if __name__ == "__main__":
    main()
