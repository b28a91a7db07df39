"""One process against two of this machine: how far their results are apart, run by run.

    python benchmarks/several_processes.py [models] [processes]

Prints a table of the largest differences of test metrics, of an epoch's mean loss and of weights,
and the seconds of an epoch. Dropout is off: processes drop other elements than one does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

import recbole_atjt
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.report.result import RunResult

MODELS = "SASRec,GRU4Rec,WideDeep"
WEIGHTINGS = ["none", "atjt", "channel", "t_ce", "autodenoise_s"]
SETTINGS = {
    "epochs": 2,
    "train_batch_size": 1024,
    "MAX_ITEM_LIST_LENGTH": 10,
    "embedding_size": 16,
    "hidden_size": 16,
    "inner_size": 32,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "dropout_prob": 0.0,
    "t_ce_num_gradual": 50,
    "metrics": ["Hit", "NDCG", "GAUC", "AUC"],
    "metric_decimal_place": 10,
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "order": "TO",
        "group_by": "user",
        "mode": "uni100",
    },
    "show_progress": False,
    "gpu_id": "",
    "user_inter_num_interval": "[0,100]",
    "state": "error",
}


def main(models: str = MODELS, processes: str = "2") -> int:
    """Train everything twice and print the table."""
    torch.set_num_threads(1)
    print(f"| model | strategy | metrics | loss | weights | s/epoch, 1 | s/epoch, {processes} |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            one, several = (
                recbole_atjt.run(
                    model,
                    "ml-100k",
                    WEIGHTINGS,
                    config_dict={**SETTINGS, "nproc": number},
                    output_dir=Path(folder) / str(number),
                ).runs
                for number in (1, int(processes))
            )
            for first, second in zip(one, several):
                print(row(first, second), flush=True)
    return 0


def row(one: RunResult, other: RunResult) -> str:
    """Return a line of the table."""
    metrics = max(abs(other.test[key] - value) for key, value in one.test.items())
    losses = max(abs(a["loss"] - b["loss"]) for a, b in zip(one.progress, other.progress))
    states = [load_checkpoint(run.checkpoint).model_state for run in (one, other)]
    # A softmax cancels the keys' bias: its gradient is rounding, of which Adam makes steps.
    weights = max(
        float((states[1][key] - value).abs().max())
        for key, value in states[0].items()
        if not key.endswith("key.bias")
    )
    figures = f"{metrics:.1e} | {losses:.1e} | {weights:.1e}"
    seconds = f"{one.seconds['epoch']:.1f} | {other.seconds['epoch']:.1f}"
    return f"| {one.model} | `{one.weighting}` | {figures} | {seconds} |"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
