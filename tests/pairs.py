"""Which strategy trains which of the 49 models: measured, and read in docs/strategies.md."""

from __future__ import annotations

import copy
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from recbole.utils import ModelType, init_seed

from recbole_atjt import DenoisingConfig, DenoisingRecommender, DenoisingTrainer
from recbole_atjt.assembly import assemble
from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import with_values
from recbole_atjt.host.registry import recbole_models
from recbole_atjt.weighting.table import STRATEGIES
from tests.models import SMALL, data_path

SEQUENTIAL = sorted(recbole_models(ModelType.SEQUENTIAL))
CONTEXT = sorted(recbole_models(ModelType.CONTEXT))
MODELS = [*SEQUENTIAL, *CONTEXT]
WEIGHTING = [name for name, strategy in STRATEGIES.items() if strategy is not None]
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "strategies.md"
_TABLE = re.compile(r"(?<=<!-- table: pairs -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


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


@cache
def prepared(model: str) -> tuple[Any, Any, Any]:
    """Return the config, the untrained model and the training data of a plain run."""
    keys = settings_of(model)
    keys["load_col"]["inter"].append("rating")
    keys.update(weighting="none", clean_eval={"rating": "[3,inf)"})  # an oracle asks for the truth
    config = DenoisingConfig(model, "tiny", None, keys)
    ready = assemble(config, tempfile.mkdtemp())
    return ready.config, ready.model, ready.train_data


def outcome(model: str, weighting: str) -> str:
    """Train an epoch; return "runs", or why the pair is refused."""
    config, bare, train_data = prepared(model)
    config = with_values(config, weighting=weighting)
    init_seed(3, True)
    try:
        wrapped = DenoisingRecommender(copy.deepcopy(bare), config, train_data._dataset)
        trainer = DenoisingTrainer(config, wrapped)
        before = [value.clone() for value in wrapped.parameters()]
        loader = trainer.loader_of(train_data)
        wrapped.weighting.prepare(loader.other_sequences)
        trainer._train_epoch(loader, 0)
        for reward in (0.5, 0.6):
            wrapped.weighting.receive_reward(reward)
    except UsageError as error:
        return str(error)
    assert not all(torch.equal(x, y) for x, y in zip(before, wrapped.parameters()))
    weights = wrapped.weighting.report.weights
    assert weights.count > 0
    assert 0 <= weights.mean < float("inf")
    return "runs"


def documented(text: str | None = None) -> dict[tuple[str, str], str]:
    """Read the table of the documents: (model, weighting) -> "runs" or the reason."""
    text = DOCUMENT.read_text(encoding="utf-8") if text is None else text
    (block,) = _TABLE.findall(text)
    lines = [line for line in block.splitlines() if line.startswith("| ")]
    _, *names = (cell.strip(" `") for cell in lines[0].strip("|").split("|"))
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", block, re.MULTILINE))
    found = {}
    for line in lines[2:]:
        model, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for name, cell in zip(names, cells):
            found[model, name] = "runs" if cell == "yes" else reasons[cell.split()[-1]]
    return found


def generic(model: str, text: str) -> str:
    """Return a refusal without the model's name, so that models can share it."""
    return re.sub(rf"\b{model}\b", "MODEL", text).replace("|", "/")


def table_of(found: dict[tuple[str, str], str]) -> str:
    """Return the documents' table of what :func:`outcome` gave, as :func:`documented` reads it.

    Args:
        found: (model, weighting) -> "runs" or the reason, for every pair.
    """
    reasons = list(dict.fromkeys(reason for reason in found.values() if reason != "runs"))
    rows = [
        "| model | " + " | ".join(f"`{name}`" for name in WEIGHTING) + " |",
        "|" + " --- |" * (len(WEIGHTING) + 1),
    ]
    for model in MODELS:
        outcomes = [found[model, weighting] for weighting in WEIGHTING]
        cells = ["yes" if one == "runs" else f"no, {reasons.index(one) + 1}" for one in outcomes]
        rows.append(f"| {model} | " + " | ".join(cells) + " |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([*rows, *(["", *notes] if notes else [])])
