"""Time and memory from the atomic file to the first batch, ours and RecBole's, by number of rows.

    python benchmarks/scale.py write --rows=20000000 --data_path=DIR
    python benchmarks/scale.py measure --rows=200000,2000000,20000000 --data_path=DIR --output=FILE
    python benchmarks/scale.py measure --rows=200000,2000000 --modes=recbole --data_path=DIR ...
    python benchmarks/scale.py plot --results=FILE --output=docs/figures/scale.svg

``write`` makes a dataset with the shape of ML-20M: its 27,278 items by Zipf's law, 144.4 clicks a
user of which the least has 20 and half have 68 or fewer, files ordered by user and item, times in
seconds. ``measure`` reads it in fresh processes: without a cache (``ours``), while one is written
(``writing``) and from it (``cached``); ``recbole`` is RecBole's own loading, with none but the
repairs without which it does not run. Memory is the peak of resident memory of the whole process
(VmHWM); ``cpu_s`` is the time of its processors, which other processes of the machine don't change
as they do the time on the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

USERS, ITEMS, ROWS = 138_493, 27_278, 20_000_000
LEAST, HALF = 20, 68
BATCH, LENGTH, BATCHES = 2048, 50, 200
MODES = ("ours", "writing", "cached", "recbole")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("write", "measure", "one"):
        command = commands.add_parser(name)
        command.add_argument("--data_path", required=True, help="folder of datasets")
        command.add_argument("--rows", default=str(ROWS), help="numbers of rows, by commas")
        if name == "measure":
            command.add_argument("--modes", default="ours,writing,cached", help="ways, by commas")
            command.add_argument("--repeat", type=int, default=1, help="take the least of so many")
            command.add_argument("--threads", type=int, default=2)
            command.add_argument("--output", help="file that results are added to")
        if name == "one":
            command.add_argument("--mode", choices=MODES, required=True)
            command.add_argument("--cache")
    plot = commands.add_parser("plot")
    plot.add_argument("--results", required=True)
    plot.add_argument("--output", required=True)
    return parser.parse_args()


def name_of(rows: int) -> str:
    """Name the dataset of so many rows."""
    return f"clicks-{rows}"


def lengths_of(users: int, rows: int, draw: np.random.Generator) -> np.ndarray:
    """Draw how many clicks each user has, ``[users]``: 20 and a lognormal rest."""
    mean = rows / users - LEAST
    sigma = np.sqrt(2 * np.log(mean / (HALF - LEAST)))
    weights = np.minimum(draw.lognormal(0, sigma, users), np.exp(sigma * 4.0))
    parts = np.floor(weights / weights.sum() * (rows - users * LEAST)).astype(np.int64)
    parts[: rows - users * LEAST - parts.sum()] += 1
    return parts + LEAST


def write(data_path: Path, rows: int) -> None:
    """Write a dataset, about 0.3 us a row."""
    import pyarrow as pa
    from pyarrow import csv

    draw = np.random.default_rng(2020)
    users = max(1, round(rows * USERS / ROWS))
    lengths = lengths_of(users, rows, draw)
    known = np.sort(draw.choice(np.arange(1, 131_263), ITEMS, replace=False))
    share = 1 / np.arange(10, ITEMS + 10) ** 1.1
    edges = np.cumsum(share / share.sum())
    ranks = np.searchsorted(edges, draw.random(rows)).clip(max=ITEMS - 1)
    item = draw.permutation(known)[ranks]
    if rows >= 50 * ITEMS:
        item[draw.choice(rows, ITEMS, replace=False)] = known
    user = np.repeat(np.arange(1, users + 1), lengths)
    start = draw.integers(789_652_004, 1_400_000_000, users)
    since = draw.exponential(draw.choice([60, 86_400], users)[user - 1] * 20.0)
    columns = {
        "user_id:token": user,
        "item_id:token": item,
        "rating:float": draw.integers(1, 11, rows) / 2,
        "timestamp:float": start[user - 1] + since.astype(np.int64),
    }
    order = np.lexsort((item, user))
    folder = data_path / name_of(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: column[order] for name, column in columns.items()})
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with (folder / f"{name_of(rows)}.inter").open("wb") as file:
        file.write("\t".join(columns).encode() + b"\n")
        csv.write_csv(table, file, options)


def resident(key: str) -> float:
    """Return VmRSS or VmHWM of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise SystemExit("resident memory is read from /proc/self/status, which is Linux only")


def repair_as_little_as_possible() -> None:
    """Make RecBole run with these versions of numpy and pandas, and no more."""
    from recbole_atjt.host.repairs import libraries, pandas3

    libraries.stop_anomaly_detection()
    libraries.restore_numpy_aliases()
    libraries.keep_numpy_names()
    pandas3.load_missing_sequences()
    pandas3.fill_missing_values()
    pandas3.copy_read_only_columns()


def settings(data_path: str) -> dict[str, Any]:
    """Return the settings of all: SASRec's, leave one out."""
    return {
        "data_path": data_path,
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "train_neg_sample_args": None,
        "train_batch_size": BATCH,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "show_progress": False,
        "use_gpu": False,
    }


def measure_one(mode: str, rows: int, data_path: str, cache: str | None) -> dict[str, Any]:
    """Measure one way in this process."""
    sys.argv = sys.argv[:1]  # RecBole's Config reads it
    began = time.perf_counter()
    given = settings(data_path)
    if mode == "recbole":
        import recbole_atjt.host.install as install

        install.apply.cache_clear()
        repair_as_little_as_possible()
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation

        config = Config("SASRec", name_of(rows), config_dict=given)
        imported, cpu = time.perf_counter(), time.process_time()
        dataset = create_dataset(config)
        read = time.perf_counter()
        train = data_preparation(config, dataset)[0]
    else:
        from recbole_atjt import DenoisingConfig, create_dataset, prepare_loaders

        if cache is not None:
            given["data_cache"] = cache
        config = DenoisingConfig("SASRec", name_of(rows), config_dict=given)
        imported, cpu = time.perf_counter(), time.process_time()
        dataset = create_dataset(config)
        read = time.perf_counter()
        train = prepare_loaders(config, dataset)[0]
    prepared = time.perf_counter()
    batches = iter(train)
    batch = next(batches)
    first, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resident("VmHWM")
    times = []
    for _ in range(min(BATCHES, len(train) - 2)):
        start = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - start)
    return {
        "mode": mode,
        "rows": rows,
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
        "windows": len(train._dataset),
        "shape": list(batch["item_id_list"].shape),
        "import_s": round(imported - began, 2),
        "read_s": round(read - imported, 2),
        "prepare_s": round(prepared - read, 2),
        "first_batch_s": round(first - imported, 2),
        "cpu_s": round(cpu, 2),
        "start_s": round(first - began, 2),
        "peak_mib": round(peak),
        "batch_ms": round(float(np.median(times)) * 1000, 2),
        "batch_p95_ms": round(float(np.percentile(times, 95)) * 1000, 2),
    }


def measure_apart(mode: str, rows: int, data_path: Path, cache: str, threads: int) -> Any:
    """Measure one way in a new process."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, str(Path(__file__).resolve()), "one", f"--mode={mode}"]
    command += [f"--rows={rows}", f"--data_path={data_path}"]
    if mode in ("writing", "cached"):
        command.append(f"--cache={cache}")
    with tempfile.TemporaryDirectory() as folder:
        number = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(root)}
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **number},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        return {"mode": mode, "rows": rows, "failed": done.returncode, "said": done.stderr[-500:]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments: argparse.Namespace) -> None:
    """Measure all ways and sizes; print a line of JSON each."""
    data_path = Path(arguments.data_path).resolve()
    cache = str(data_path / "cache")
    for rows in map(int, arguments.rows.split(",")):
        if not (data_path / name_of(rows)).is_dir():
            write(data_path, rows)
        for mode in arguments.modes.split(","):
            found = []
            for _ in range(arguments.repeat):
                if mode == "writing":
                    shutil.rmtree(cache, ignore_errors=True)
                found.append(measure_apart(mode, rows, data_path, cache, arguments.threads))
            best = min(found, key=lambda one: one.get("first_batch_s", 0))
            print(json.dumps(best), flush=True)
            if arguments.output:
                with open(arguments.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(best) + "\n")


def plot(results: Path, output: Path) -> None:
    """Draw time and memory by number of rows, and print what a million rows adds."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    matplotlib.rcParams.update({"svg.hashsalt": "scale", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    named = {"recbole": "RecBole", "ours": "this package", "cached": "from its cache"}
    colours = dict(zip(named, ("#d55e00", "#0072b2", "#009e73")))
    for panel, key, scale, name in zip(
        panels, ("cpu_s", "peak_mib"), (1, 1024), ("processor time, s", "peak memory, GiB")
    ):
        for mode, label in named.items():
            points = sorted((one["rows"], one[key] / scale) for one in lines if one["mode"] == mode)
            rows, values = np.array(points).T
            panel.loglog(rows / 1e6, values, "o-", label=label, color=colours[mode], markersize=4)
            slope, start = np.polyfit(rows / 1e6, values, 1)
            worst = np.abs(slope * rows / 1e6 + start - values).max() / values.max()
            print(f"{label}, {name}: {start:.2f} + {slope:.3f} a million rows, off by {worst:.0%}")
        panel.set_xlabel("million interactions")
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(output, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Write, measure or plot."""
    arguments = parse()
    if arguments.command == "write":
        for rows in map(int, arguments.rows.split(",")):
            write(Path(arguments.data_path), rows)
    elif arguments.command == "measure":
        measure(arguments)
    elif arguments.command == "plot":
        plot(Path(arguments.results), Path(arguments.output))
    elif arguments.command == "one":
        one = measure_one(arguments.mode, int(arguments.rows), arguments.data_path, arguments.cache)
        print(json.dumps(one))


if __name__ == "__main__":
    main()
