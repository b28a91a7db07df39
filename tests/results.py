"""Results made by hand, with everything that a page can show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recbole_atjt.report.result import RunResult

#: Text that would be more than text.
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;$x_1$\x00\ud800\u202e"
#: What plain training, a strategy and the oracle reach on test; seeds add to it.
_REACHED = {"none": 0.10, "atjt": 0.14, "channel": 0.101, "oracle": 0.20}
_BINS = {
    "none": None,
    "atjt": {
        "from": [0.1, 0.5, 0.8],
        "to": [0.2, 0.6, 0.9],
        "clean": [1, 2, 7],
        "noisy": [3, 1, 0],
    },
    "channel": {"from": [0.2, 0.9], "to": [0.3, 1.0], "clean": [2, 8], "noisy": [2, 2]},
    "oracle": {"from": [0.0, 1.0], "to": [0.0, 1.0], "clean": [0, 10], "noisy": [4, 0]},
}


def run_of(weighting: str = "atjt", seed: int = 1, **changes: Any) -> RunResult:
    """Return a run of three epochs whose figures follow from strategy and seed."""
    value = _REACHED.get(weighting, 0.12) + 0.01 * seed
    made = RunResult(
        model="SASRec",
        dataset="tiny",
        weighting=weighting,
        seed=seed,
        valid={"ndcg@10": value, "hit@10": 2 * value},
        test={"ndcg@10": value, "hit@10": 2 * value},
        best_epoch=1,
        epochs=3,
        seconds={"prepare": 1.0, "train": 3.0, "epoch": 1.0, "evaluate": 1.0},
        parameters={"recommender": 10, "recogniser": 0},
        weights=_weights(weighting),
        warnings=[],
        checkpoint=f"out/SASRec-tiny-{weighting}-{seed}.safetensors",
        versions={"recbole_atjt": "0.1.0", "torch": "2.13.0"},
        config={"valid_metric": "NDCG@10", "weighting": weighting, "seed": seed, "epochs": 3},
        progress=[
            {"epoch": epoch, "loss": 2.0 / (epoch + seed), "valid": value - 0.01 * (epoch - 1) ** 2}
            for epoch in range(3)
        ],
    )
    return replace(made, **changes)


def _weights(weighting: str) -> dict[str, Any] | None:
    if weighting == "none":
        return None
    moments = {"variance": 0.01}
    learned = {"recognizer_loss": 0.6, "noise_share": 0.3} if weighting == "atjt" else {}
    found: dict[str, Any] = {
        "true_positive": {"mean": 0.8, "count": 10, **moments},
        "false_positive": {"mean": 0.3, "count": 4, **moments},
        "noise_auroc": 0.9,
        "noise_bins": _BINS.get(weighting),
        "epochs": [
            {
                "epoch": epoch,
                "mean_weight": 0.6,
                "true_positive": 0.8,
                "false_positive": 0.5 - 0.1 * epoch,
                **learned,
            }
            for epoch in range(3)
        ],
    }
    if weighting == "atjt":
        found["noise_items"] = [
            {"item": "12", "title": "Piano, The", "share": 0.2},
            {"item": "7", "title": "Speed", "share": 0.1},
        ]
    return found


def runs(seeds: int = 3) -> list[RunResult]:
    """Return runs of plain training, two strategies and the oracle."""
    return [run_of(name, seed) for name in _REACHED for seed in range(1, seeds + 1)]


def hostile_runs() -> list[RunResult]:
    """Return runs whose every text wants to be more than text."""
    return [
        replace(
            run,
            model=HOSTILE,
            dataset="_" + HOSTILE,
            weighting=run.weighting if run.weighting == "none" else HOSTILE + run.weighting,
            warnings=[HOSTILE],
            checkpoint=HOSTILE,
            versions={HOSTILE: HOSTILE},
            config={**run.config, HOSTILE: [HOSTILE]},
            valid={**run.valid, HOSTILE: 1.0},
            test={**run.test, HOSTILE: 1.0},
            weights=None
            if run.weights is None
            else {
                **run.weights,
                "noise_items": [{"item": HOSTILE, "title": HOSTILE, "share": 0.5}],
            },
        )
        for run in runs(2)
    ]
