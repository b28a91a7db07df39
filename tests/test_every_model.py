"""All 49 sequential and context-aware models of RecBole train with ATJT, by the same command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recbole.utils import ModelType

import recbole_atjt
from recbole_atjt.host.registry import recbole_models
from tests.models import SMALL, data_path

SEQUENTIAL = sorted(recbole_models(ModelType.SEQUENTIAL))
CONTEXT = sorted(recbole_models(ModelType.CONTEXT))


def settings_of(model: str) -> dict[str, Any]:
    """Small sizes, and what a model's data needs beside interactions."""
    settings: dict[str, Any] = {
        **SMALL,
        "data_path": data_path(),
        "epochs": 1,
        "MAX_ITEM_LIST_LENGTH": 10,
        "train_batch_size": 64,
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": "uni10",
        },
        "metrics": ["AUC", "Hit", "NDCG"],
        "topk": [5],
        "valid_metric": "NDCG@5",
        "show_progress": False,
        "gpu_id": "",
        "load_col": {
            "inter": ["user_id", "item_id", "timestamp"],
            "user": ["user_id", "age", "gender", "occupation"],
            "item": ["item_id", "release_year", "class"],
        },
    }
    if model in ("GRU4RecKG", "KSR"):
        settings["load_col"].update(
            kg=["head_id", "relation_id", "tail_id"],
            link=["item_id", "entity_id"],
            ent=["ent_id", "ent_emb"],
            rel=["rel_id", "rel_emb"],
        )
        settings["additional_feat_suffix"] = ["ent", "rel"]
        settings["alias_of_entity_id"] = ["ent_id"]
        settings["alias_of_relation_id"] = ["rel_id"]
        settings["preload_weight"] = {"ent_id": "ent_emb", "rel_id": "rel_emb"}
    if model in ("GRU4RecCPR", "SASRecCPR"):
        settings["eval_args"]["mode"] = "full"
    if model == "S3Rec":
        settings["pretrain_epochs"] = 1
    return settings


def test_there_are_49() -> None:
    assert len(SEQUENTIAL) == 31
    assert len(CONTEXT) == 18


@pytest.mark.parametrize("model", [*SEQUENTIAL, *CONTEXT])
def test_trains_an_epoch_with_atjt(model: str) -> None:
    result = recbole_atjt.run(
        model, "tiny", "atjt", 7, config_dict=settings_of(model), output_dir="out"
    )
    (run,) = result.runs
    assert run.epochs == 1
    assert run.best_epoch == 0
    assert set(run.test) == {"auc", "hit@5", "ndcg@5"}
    assert all(0.0 <= value <= 1.0 for value in run.test.values())
    assert run.weights is not None
    assert 0.0 < run.weights["original"]["mean"] < 1.0
    assert run.weights["epochs"][0]["recognizer_loss"] > 0.0
    assert Path(run.checkpoint).is_file()
