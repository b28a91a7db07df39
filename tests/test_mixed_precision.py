"""Mixed precision: the recommender's passes in bfloat16, what weighs them in full precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig

_SMALL = {
    "user_inter_num_interval": "[20,30]",
    "MAX_ITEM_LIST_LENGTH": 5,
    "train_batch_size": 512,
    "show_progress": False,
    "epochs": 2,
}


def trained(model: str, weighting: str, tmp_path: Any, amp: bool) -> Any:
    keys = {**_SMALL, "weighting": weighting, "enable_amp": amp}
    if model == "GRU4Rec":
        keys["train_neg_sample_args"] = None
    ready = assemble(DenoisingConfig(model, "ml-100k", None, keys), tmp_path)
    ready.trainer.fit(ready.train_data, saved=False, verbose=False)
    return ready.trainer


@pytest.mark.parametrize(
    ("model", "weighting"),
    [
        ("GRU4Rec", "atjt"),
        ("GRU4Rec", "wat"),
        ("BPR", "atjt"),
        ("WideDeep", "atjt"),
        ("WideDeep", "channel"),
    ],
)
def test_recognisers_learn_what_they_learn_in_full_precision(
    model: str, weighting: str, tmp_path: Any
) -> None:
    full, mixed = (trained(model, weighting, tmp_path, amp) for amp in (False, True))
    for expected, found in zip(full.history, mixed.history):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=0.05, abs=0.03), name
    states = mixed.weighting.state_dict()
    assert all(
        value.dtype in (torch.float32, torch.float64, torch.long) for value in states.values()
    )
    assert all(value.isfinite().all() for value in states.values() if value.is_floating_point())
