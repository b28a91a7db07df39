"""Runs of every strategy that take many steps an epoch."""

from __future__ import annotations

from typing import Any

from tests.runs import settings

NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
LIKELIHOOD = {"atjt_evidence": "likelihood"}
RUNS: dict[str, dict[str, Any]] = {
    "none": {},
    "none BPR": {"loss_type": "BPR", **NEGATIVES},
    "channel": {},
    "channel BPR": {"loss_type": "BPR", **NEGATIVES},
    "channel WideDeep": {"model": "WideDeep"},
    "channel DIN": {"model": "DIN"},
    "atjt": LIKELIHOOD,
    "atjt BPR": {**LIKELIHOOD, "loss_type": "BPR", **NEGATIVES},
    "atjt own": {"atjt_joint_gradient": True},
    "atjt paper": {"atjt_schedule": "paper", "atjt_phase_epochs": 2},
    "wat": {},
    "dnr": {"dnr_epochs": 1},
    "t_ce": {"t_ce_num_gradual": 9},
    "autodenoise_s": {},
    "autodenoise_h BPR": {"loss_type": "BPR", **NEGATIVES},
    "oracle": {"plant": "clickbait:0.2", "plant_items": 5},
}
EPOCHS = 3


def keys_of(name: str, **changes: Any) -> tuple[str, str, dict[str, Any]]:
    """Return model, strategy and settings of a run of many steps."""
    own = {"train_batch_size": 24, "epochs": EPOCHS, **RUNS[name], **changes}
    return own.pop("model", "SASRec"), name.split()[0], settings(**own)
