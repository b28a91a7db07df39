"""Short trainings whose checkpoints are served, on a shop with tokens, titles and features."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import ModelType

import recbole_atjt
from recbole_atjt import DenoisingConfig
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.checkpoint.model import load_model
from recbole_atjt.model.table import find_model
from tests.runs import settings

USERS, ITEMS = 24, 40
#: What names the columns of models that read features.
FEATURES = {
    "inter": ["user_id", "item_id", "timestamp"],
    "item": ["item_id", "release_year", "class"],
    "user": ["user_id", "age", "gender"],
}


@dataclass(frozen=True)
class Served:
    """A training and what it left.

    Args:
        path: The checkpoint of the best model.
        clicks: What each user clicked, the oldest first, as the file says.
        keys: The settings.
        model: Name or class of the model.
    """

    path: Path
    clicks: dict[str, list[str]]
    keys: dict[str, Any]
    model: Any

    def scores(self, users: list[str]) -> tuple[Any, list[str]]:
        """Return scores ``[B, n_items]`` of users' next clicks, and the items' tokens, by RecBole.

        The model is built from the data, and asked with an interaction written by hand.
        """
        config = DenoisingConfig(self.model, "shop", config_dict=self.keys)
        ready = recbole_atjt.assemble(config, self.path.parent)
        dataset, model = ready.train_data._dataset, ready.model
        load_model(model, load_checkpoint(self.path))
        tokens = [str(token) for token in dataset.field2id_token["item_id"]]
        batch: dict[str, list[Any]] = {"user_id": [], "item_id_list": [], "item_length": []}
        for user in users:
            last = self.clicks[user][-10:]
            numbers = [dataset.token2id("item_id", item) for item in last]
            batch["user_id"].append(dataset.token2id("user_id", user))
            batch["item_id_list"].append(numbers + [0] * (10 - len(numbers)))
            batch["item_length"].append(len(numbers))
        columns = {name: torch.tensor(values) for name, values in batch.items()}
        return _scores(model.eval(), dataset, columns), tokens


@torch.no_grad()
def _scores(model: Any, dataset: Any, columns: dict[str, Any]) -> Any:
    """Score every item, one pair of user and item after another where need be."""
    try:
        return model.full_sort_predict(columns).view(len(columns["user_id"]), -1)
    except NotImplementedError:
        rows = []
        for query in range(len(columns["user_id"])):
            row = []
            for item in range(dataset.item_num):
                pair = {name: column[[query]] for name, column in columns.items()}
                pair["item_id"] = torch.tensor([item])
                user = int(pair["user_id"])
                for feat, number in ((dataset.user_feat, user), (dataset.item_feat, item)):
                    pair.update({name: feat[name][[number]] for name in feat or ()})
                row.append(float(model.predict(pair)))
            rows.append(row)
        return torch.tensor(rows)


def write_shop(folder: Path) -> dict[str, list[str]]:
    """Write the shop's files, in no order; return each user's clicks, the oldest first."""
    rng = np.random.default_rng(3)
    clicks = {
        f"u{user}": [f"i{item}" for item in rng.choice(ITEMS, rng.integers(5, 14), replace=False)]
        for user in range(USERS)
    }
    rows = [
        f"{user}\t{item}\t{time}"
        for user, items in clicks.items()
        for time, item in enumerate(items)
    ]
    rng.shuffle(rows)
    (folder / "shop").mkdir(parents=True)
    _write(folder, "inter", "user_id:token\titem_id:token\ttimestamp:float", rows)
    _write(
        folder,
        "item",
        "item_id:token\trelease_year:token\tclass:token_seq\ttitle:token_seq",
        [
            f"i{n}\t{1990 + n % 5}\t{'a b c'[: 1 + 2 * (n % 3)]}\tTitle, the {n}."
            for n in range(ITEMS)
        ],
    )
    _write(
        folder,
        "user",
        "user_id:token\tage:token\tgender:token",
        [f"u{n}\t{20 + n % 4}\t{'fm'[n % 2]}" for n in range(USERS)],
    )
    return clicks


def _write(folder: Path, suffix: str, header: str, rows: list[str]) -> None:
    text = "\n".join([header, *rows]) + "\n"
    (folder / "shop" / f"shop.{suffix}").write_text(text, encoding="utf-8")


def keys_of(model: Any, folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of a short training."""
    model_class = model if isinstance(model, type) else find_model(model)
    reads_features = model_class.type == ModelType.CONTEXT or model_class.__name__ == "DIN"
    keys = settings(epochs=1, data_path=str(folder), pretrain_epochs=1, checkpoint_dir="kept")
    keys["load_col"] = FEATURES if reads_features else {"inter": FEATURES["inter"]}
    if model_class.__name__ == "S3Rec":
        keys["load_col"] = {**keys["load_col"], "item": FEATURES["item"]}
    if model_class.type == ModelType.CONTEXT:
        keys.update(metrics=["AUC"], valid_metric="AUC", topk=None)
    keys.update(changes)
    return {key: value for key, value in keys.items() if value is not None}


def serve(model: Any, folder: Path, weighting: str = "none", **changes: Any) -> Served:
    """Train for an epoch on the shop, which is gone from its place when the training is done."""
    clicks = write_shop(folder / "data")
    keys = keys_of(model, folder / "data", **changes)
    result = recbole_atjt.run(
        model, "shop", weighting, config_dict=keys, output_dir=folder / "output"
    )
    shutil.move(folder / "data", folder / "moved")
    keys = {**keys, "data_path": str(folder / "moved")}
    return Served(Path(result.runs[0].checkpoint), clicks, keys, model)
