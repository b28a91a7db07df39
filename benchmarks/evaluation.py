"""Processor time and memory of a full ranking, ours and RecBole's, by number of items.

    python benchmarks/evaluation.py --items=2000,27278 --batch=2048 --queries=4096
    python benchmarks/evaluation.py --items=1000000 --batch=256 --queries=512

SASRec, untrained, ranks all items for the last click of so many generated users. Each way runs in a
process of its own: ``recbole`` is RecBole's trainer, ``ours`` this package's, whose scores take at
most ``--limit`` MiB. Both score by the same model; what each does with the scores differs.
``memory_mib`` is how much the peak of resident memory (VmHWM) grew while evaluating, and
``scores_mib`` what the scores of one batch take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from scale import resident

WAYS = ("recbole", "ours")
CLICKS = 12


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="27278", help="numbers of items, by commas")
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=2048, help="eval_batch_size")
    parser.add_argument("--limit", type=int, default=1024, help="eval_scores_mib")
    parser.add_argument("--metrics", default="GAUC,Hit,NDCG,MRR")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3, help="evaluations, after a first one")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def write(folder: Path, items: int, queries: int) -> None:
    """Write clicks by users of which each has 12; each item is clicked at least once."""
    draw = np.random.default_rng(1)
    rows = CLICKS * max(queries, -(-items // CLICKS))
    item = draw.permutation(np.arange(rows) % items)
    (folder / "clicks").mkdir()
    with (folder / "clicks" / "clicks.inter").open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        file.writelines(f"{row // CLICKS}\t{item[row]}\t{row % CLICKS}\n" for row in range(rows))


def first(loader: Any, queries: int) -> Any:
    """Return a loader of the first queries of another one."""
    from recbole.data.dataloader import FullSortEvalDataLoader

    class First(FullSortEvalDataLoader):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self._dataset = loader._dataset

        def __len__(self) -> int:
            return -(-queries // int(loader.step))

        def __iter__(self) -> Iterator[Any]:
            return islice(iter(loader), len(self))

    return First()


def measure(args: argparse.Namespace, way: str, items: int) -> dict[str, Any]:
    """Measure one way in this process."""
    sys.argv = sys.argv[:1]
    import torch
    from recbole.trainer import Trainer

    from recbole_atjt import DenoisingConfig, DenoisingTrainer, create_dataset, prepare_loaders

    given = {
        "data_path": args.folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": CLICKS,
        "train_neg_sample_args": None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "eval_batch_size": args.batch,
        "eval_scores_mib": args.limit,
        "metrics": args.metrics.split(","),
        "valid_metric": "NDCG@10" if "NDCG" in args.metrics else args.metrics.split(",")[0],
        "metric_decimal_place": 17,
        "show_progress": False,
        "use_gpu": False,
    }
    config = DenoisingConfig("SASRec", "clicks", config_dict=given)
    train, _, test = prepare_loaders(config, create_dataset(config))
    torch.manual_seed(1)
    model = config.model_class(config, train._dataset)
    trainer = (Trainer if way == "recbole" else DenoisingTrainer)(config, model)
    test = first(test, args.queries)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    before, times = resident("VmRSS"), []
    for _ in range(args.rounds + 1):
        clock, processor = perf_counter(), process_time()
        metrics = trainer.evaluate(test, load_best_model=False)
        times.append((perf_counter() - clock, process_time() - processor))
    memory = resident("VmHWM") - before
    seconds = [round(median(each), 2) for each in zip(*times[1:] or times)]
    return {
        "way": way,
        "items": items,
        "seconds": seconds[0],
        "processor_s": seconds[1],
        "scores_mib": round(args.batch * (items + 1) * 4 / 2**20),
        "memory_mib": round(memory),
        "metrics": {name: float(value) for name, value in metrics.items()},
    }


def main() -> None:
    """Measure each way apart; print a line of JSON each."""
    args = parse()
    if args.folder:
        print(json.dumps(measure(args, args.ways, int(args.items))))
        return
    root = str(Path(__file__).resolve().parents[1])
    for items in map(int, args.items.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), items, args.queries)
            for way in args.ways.split(","):
                keys = {**vars(args), "items": items, "ways": way, "folder": folder}
                words = [f"--{key}={value}" for key, value in keys.items()]
                done = subprocess.run(
                    [sys.executable, str(Path(__file__).resolve()), *words],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": root},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                failed = {"way": way, "items": items, "failed": done.returncode}
                said = {**failed, "said": done.stderr[-300:]}
                print(json.dumps(said) if done.returncode else done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
