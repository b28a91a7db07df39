"""Two hosts train as one machine does: tried in two network namespaces of this machine.

Needs root, ``ip`` and a kernel that lets namespaces be made. Each host has a working folder, a
network interface and a loopback of its own; they share nothing but a cable. Prints a line of JSON:
how far the two hosts' results are from those of one process, what the second host wrote, and how
the run ends when the cable is cut, and goes on with one process.

    python benchmarks/two_hosts.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_atjt.checkpoint.file import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("10.231.77.1", "10.231.77.2")
PORT = 5678
SETTINGS = {
    "model": "SASRec",
    "dataset": "ml-100k",
    "weighting": "none,channel,atjt",
    "epochs": "2",
    "user_inter_num_interval": "[0,100]",
    "train_batch_size": "2048",
    "MAX_ITEM_LIST_LENGTH": "10",
    "hidden_size": "16",
    "inner_size": "32",
    "hidden_dropout_prob": "0.0",  # processes drop other elements than one does
    "attn_dropout_prob": "0.0",
    "metrics": "[Hit,NDCG,AUC]",
    "metric_decimal_place": "10",
    "process_timeout": "20",
    "show_progress": "False",
    "gpu_id": "",
}


def main() -> int:
    """Try it and print what was found."""
    with tempfile.TemporaryDirectory() as folder, namespaces() as names:
        base = Path(folder)
        one = [started(base / "one", None, "out", SETTINGS)]
        ended(one)
        found: dict[str, Any] = {}
        for launcher in ("keys", "torchrun"):
            hosts = on_hosts(base / launcher, names, launcher, SETTINGS)
            ended(hosts)
            found[launcher] = {
                "codes": [process.returncode for process in hosts],
                "differences": differences(base / "one/out", base / launcher / "0/out"),
                "written by the second host": written(base / launcher / "1"),
            }
        found["cable cut"] = cut(base, names)
    print(json.dumps(found, indent=1))
    return 0


def cut(base: Path, names: list[str]) -> dict[str, Any]:
    """Cut the cable in the midst of training, then go on with one process."""
    keys = {**SETTINGS, "weighting": "channel", "epochs": "4"}
    ended([started(base / "long", None, "out", keys)])
    hosts = on_hosts(base / "cut", names, "keys", keys)
    while not list((base / "cut/0/out/checkpoints").glob("*.last.*")):
        time.sleep(0.2)
        assert hosts[0].poll() is None, "the run ended before the cable was cut"
    start = time.monotonic()
    run("ip", "-n", names[0], "link", "set", "cable0", "down")
    ended(hosts)
    seconds = time.monotonic() - start
    run("ip", "-n", names[0], "link", "set", "cable0", "up")
    said = [line for n in (0, 1) for line in lines_of(base / f"cut/{n}")]
    ended([started(base / "cut/0", None, "out", {"resume": "out"})])
    return {
        "seconds": round(seconds, 1),
        "codes": [process.returncode for process in hosts],
        "said": said,
        "differences after resume with one process": differences(
            base / "long/out", base / "cut/0/out"
        ),
    }


def run(*words: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run(words, check=True)


@contextmanager
def namespaces() -> Iterator[list[str]]:
    """Make two namespaces, each with its end of a cable, and remove them afterwards."""
    names = [f"atjt-{os.getpid()}-{number}" for number in (0, 1)]
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run(
            *("ip", "-n", names[0], "link", "add", "cable0", "type", "veth"),
            *("peer", "name", "cable1", "netns", names[1]),
        )
        for number, name in enumerate(names):
            run("ip", "-n", name, "addr", "add", f"{HOSTS[number]}/24", "dev", f"cable{number}")
            run("ip", "-n", name, "link", "set", f"cable{number}", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def on_hosts(
    base: Path, names: list[str], launcher: str, keys: dict[str, str]
) -> list[subprocess.Popen[bytes]]:
    """Start both hosts' parts of a training."""
    found = []
    for number, name in enumerate(names):
        extra, before = {}, [sys.executable]
        if launcher == "keys":
            extra = {"nproc": "1", "world_size": "2", "ip": HOSTS[0], "port": str(PORT)}
            extra["group_offset"] = str(number)
        else:
            before += ["-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
            before += [f"--node_rank={number}", f"--master_addr={HOSTS[0]}"]
            before += [f"--master_port={PORT}"]
        words = ["ip", "netns", "exec", name, *before]
        found.append(started(base / str(number), words, "out", {**keys, **extra}))
    return found


def started(
    folder: Path, before: list[str] | None, output: str, keys: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start the command in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [f"--{key}={value}" for key, value in keys.items()]
    if "resume" not in keys:
        words.append(f"--output_dir={output}")
    return subprocess.Popen(
        [*(before or [sys.executable]), str(ROOT / "run_atjt.py"), *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors").open("wb"),
    )


def ended(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for processes."""
    for process in processes:
        process.wait()


def lines_of(folder: Path) -> list[str]:
    """Return what the command said in the end on a host."""
    text = (folder / "errors").read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.startswith("recbole-atjt")]


def written(folder: Path) -> list[str]:
    """Return the files in a host's folder, without this script's own."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != "errors")


def differences(one: Path, other: Path) -> dict[str, dict[str, float]]:
    """Return the largest differences of test metrics and weights, by run."""
    found = {}
    for first, second in zip(results(one), results(other)):
        name = f"{first['model']}-{first['dataset']}-{first['weighting']}-{first['seed']}"
        metrics = max(abs(second["test"][key] - value) for key, value in first["test"].items())
        files = [each / "checkpoints" / f"{name}.safetensors" for each in (one, other)]
        states = [load_checkpoint(file).model_state for file in files]
        # A softmax cancels the keys' bias: its gradient is rounding, of which Adam makes steps.
        weights = max(
            float((states[1][key] - value).abs().max())
            for key, value in states[0].items()
            if not key.endswith("key.bias")
        )
        found[first["weighting"]] = {"metrics": metrics, "weights": weights}
    return found


def results(folder: Path) -> list[dict[str, Any]]:
    """Return the runs of a result.json."""
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content["runs"]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
