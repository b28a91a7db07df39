"""Training on a GPU: samples a second, peak memory, and where the host waits for the device.

For each model and strategy, in one process and interleaved rounds of a few batches each:
``samples`` a second of the median round, ``ratio`` to ``none`` of the same model, ``peak`` MiB of
the device's memory, and ``waits``: how often a step of the host stands still until the device has
done all that was asked of it, with the lines that do so. ``--picture`` draws the last three of four
steps of each strategy as torch's profiler saw them: what the host asks for, what the device does,
and the waits.

Run it as ``python benchmarks/on_gpu.py --models=SASRec,WideDeep --dataset=ml-1m-noisy
--data_path=DIR --picture=steps.png``. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from os import chdir
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from epoch_ratio import FirstBatches, ours

#: What torch says of an operation that waits.
_WAITS = "called a synchronizing CUDA operation"
#: Files whose lines say where a wait is.
_OURS = ("recbole_atjt", "recbole")


class Trained:
    """A model that is trained with a strategy, a few batches at a time."""

    def __init__(self, args: argparse.Namespace, model: str, weighting: str) -> None:
        given = SimpleNamespace(**vars(args), model=model)
        self.trainer, self.loader = ours(given, weighting)
        self.samples: list[float] = []
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        if self.trainer.weighting is not None:
            self.trainer.weighting.prepare(self.loader.other_sequences)
        self.train(2)
        self.peak = (torch.cuda.max_memory_allocated() - held) / 2**20

    def train(self, steps: int) -> float:
        """Train so many batches; return the seconds that they take, the device's included."""
        self.trainer.loader = FirstBatches(self.loader, min(steps, len(self.loader)))
        self.trainer._begins_again = False
        torch.cuda.synchronize()
        begun = perf_counter()
        self.trainer._train_epoch(self.trainer.loader, 0)
        torch.cuda.synchronize()
        return perf_counter() - begun

    def time(self, steps: int, batch: int) -> None:
        """Train a round and note its samples a second."""
        seconds = self.train(steps)
        self.samples.append(len(self.trainer.loader) * batch / seconds)

    def waits(self, steps: int) -> tuple[float, dict[str, float]]:
        """Return how often a step waits: in all, and by line.

        What an epoch waits for once, at its end, is not a step's: it is taken off by training
        twice, once with twice as many steps.
        """
        few, many = self._waits(steps), self._waits(2 * steps)
        many.subtract(few)
        lines = {line: round(number / steps, 2) for line, number in many.items() if number > 0}
        return round(sum(lines.values()), 2), lines

    def _waits(self, steps: int) -> Counter[str]:
        found: Counter[str] = Counter()

        def note(message: Any, *_: Any, **__: Any) -> None:
            if _WAITS in str(message):
                found[_line(traceback.extract_stack())] += 1

        torch.cuda.set_sync_debug_mode("warn")
        shown, warnings.showwarning = warnings.showwarning, note
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = note
                self.train(steps)
        finally:
            warnings.showwarning = shown
            torch.cuda.set_sync_debug_mode("default")
        return found

    def profile(self) -> list[dict[str, Any]]:
        """Return the events of a few steps: name, whether of the device, start and end, ms."""
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as seen:
            self.train(4)
        return [
            {
                "name": event.name,
                "device": event.device_type == torch.autograd.DeviceType.CUDA,
                "start": event.time_range.start / 1000,
                "end": event.time_range.end / 1000,
            }
            for event in seen.events()
        ]


def _line(stack: traceback.StackSummary) -> str:
    """Return where the innermost frames of the packages are, the innermost first."""
    places = []
    for frame in reversed(stack):
        parts = Path(frame.filename).parts
        root = next((name for name in _OURS if name in parts), None)
        if root is None or "benchmarks" in parts:
            continue
        inside = parts[len(parts) - 1 - parts[::-1].index(root) :]
        places.append(f"{'/'.join(inside)}:{frame.lineno}")
    return " < ".join(places[:2])


def draw(profiles: dict[str, list[dict[str, Any]]], path: str) -> None:
    """Draw the last three of four steps of each: the host's calls, the device's work, the waits."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(profiles), 1, figsize=(11, 1.4 * len(profiles)), squeeze=False
    )
    for axis, (name, events) in zip(axes[:, 0], profiles.items()):
        device = [each for each in events if each["device"]]
        begun = min(each["start"] for each in device)
        over = max(each["end"] for each in device) - begun
        rows = {
            "device": (device, "tab:blue"),
            "host": ([e for e in events if not e["device"] and not _waits(e)], "tab:gray"),
            "waits": ([e for e in events if not e["device"] and _waits(e)], "tab:red"),
        }
        for height, (_, (shown, color)) in enumerate(rows.items()):
            spans = [(e["start"] - begun, max(e["end"] - e["start"], 0.002)) for e in shown]
            axis.broken_barh(spans, (height - 0.4, 0.8), color=color, linewidth=0)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_xlim(over / 4, over)
        axis.set_title(name, loc="left", fontsize=9)
    axes[-1, 0].set_xlabel("ms")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _waits(event: dict[str, Any]) -> bool:
    return "Synchronize" in event["name"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="SASRec,WideDeep,BPR")
    parser.add_argument("--weightings", default="none,atjt,channel")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="dataset/")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--length", type=int, default=50, help="items in a history")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fast_dropout", action="store_true")
    parser.add_argument("--picture", help="file that the steps are drawn to")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch finds no GPU here")
    args.data_path = str(Path(args.data_path).resolve())
    picture = None if args.picture is None else str(Path(args.picture).resolve())
    chdir(tempfile.mkdtemp())
    logging.getLogger().addHandler(logging.NullHandler())
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    result |= {"batch": args.batch, "length": args.length, "dataset": args.dataset}
    profiles = {}
    for model in args.models.split(","):
        names = args.weightings.split(",")
        trained = {name: Trained(args, model, name) for name in names}
        for _ in range(args.rounds):
            for each in trained.values():
                each.time(args.steps, args.batch)
        for name, each in trained.items():
            waits, lines = each.waits(5)
            samples = median(each.samples)
            row = {
                "samples": round(samples),
                "ratio": round(median(trained[names[0]].samples) / samples, 3),
                "peak": round(each.peak),
                "waits": waits,
            }
            print(f"{model:10s} {name:10s} {row}")
            for line, number in sorted(lines.items(), key=lambda one: -one[1]):
                print(f"    {number:5} {line}")
            result[f"{model}/{name}"] = row | {"lines": lines}
            if picture is not None:
                profiles[f"{model}, {name}"] = each.profile()
    if picture is not None:
        draw(profiles, picture)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
