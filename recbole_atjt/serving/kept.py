"""A dataset and settings out of a checkpoint, for RecBole's models to be built from."""

from __future__ import annotations

from collections.abc import Mapping
from logging import CRITICAL, getLogger
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.host.traits import traits_of

_SILENT = getLogger(__name__)
_SILENT.setLevel(CRITICAL)
_SOURCES = {source.value: source for source in FeatureSource}


class KeptConfig(Config):  # type: ignore[misc,unused-ignore]
    """Settings that a checkpoint holds, as RecBole's ``Config``.

    Args:
        values: The settings.
        model_class: The model's class.
    """

    def __init__(self, values: Mapping[str, Any], model_class: Any) -> None:
        self.model_class = model_class
        self.final_config_dict: dict[str, Any] = {
            **values,
            "MODEL_TYPE": model_class.type,
            "device": torch.device("cpu"),
        }
        if traits_of(model_class).is_pretrained:  # the second stage reads the first one's file
            self.final_config_dict["train_stage"] = "pretrain"


class KeptDataset(Dataset):  # type: ignore[misc,unused-ignore]
    """A training set without files: it has what RecBole's models ask for when they are built.

    Args:
        config: Its settings.
        catalogue: What was kept of it.
    """

    def __init__(self, config: KeptConfig, catalogue: Catalogue) -> None:
        self.config: Any = config
        self.logger = _SILENT  # what it said of the data was said in training
        self.dataset_name = config["dataset"]
        self.uid_field, self.iid_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.label_field, self.time_field = config["LABEL_FIELD"], config["TIME_FIELD"]
        self._sizes = {name: each.size for name, each in catalogue.fields.items()}
        self.field2type = {n: FeatureType(each.kind) for n, each in catalogue.fields.items()}
        self.field2source = {n: _source(each.source) for n, each in catalogue.fields.items()}
        self.field2seqlen = {name: each.length for name, each in catalogue.fields.items()}
        self.field2id_token = {
            self.uid_field: np.array(catalogue.users, dtype=object),
            self.iid_field: np.array(catalogue.items, dtype=object),
        }
        self.user_feat = _feat(catalogue.user_features)
        self.item_feat = _feat(catalogue.item_features)
        empty = torch.zeros(0, dtype=torch.int64)
        users, items = catalogue.trained_on or (empty, empty)
        self.inter_feat = Interaction({self.uid_field: users.long(), self.iid_field: items.long()})
        self._preloaded_weight = {n: m.numpy() for n, m in (catalogue.preloaded or {}).items()}

    def num(self, field: str) -> int:
        """Return what the dataset's ``num`` said of a column."""
        return int(self._sizes[field])


def _source(name: str) -> Any:
    return _SOURCES.get(name, name)  # files beside users and items are sources of their own


def _feat(columns: Mapping[str, Tensor]) -> Any:
    return Interaction(dict(columns)) if columns else None
