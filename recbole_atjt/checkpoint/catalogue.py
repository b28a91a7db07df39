"""What a model needs to serve without its data: names, titles, clicks and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.utils import FeatureType, ModelType
from torch import Tensor

from recbole_atjt.checkpoint.texts import pack, unpack
from recbole_atjt.data.history_mask import bits_of, marks_of
from recbole_atjt.data.known import KnownClicks, known_clicks
from recbole_atjt.data.titles import titles_of
from recbole_atjt.host.extensions import fields_read

#: Any name: a model that reads the columns of users and items says so of this one.
_ANY = "any column"
_OF_TOKENS = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)


@dataclass(frozen=True)
class Field:
    """A column of the data, as RecBole's models ask for it when they are built.

    Args:
        kind: Value of RecBole's ``FeatureType``.
        source: Value of RecBole's ``FeatureSource``.
        size: What ``dataset.num`` says: number of tokens, or width.
        length: What ``dataset.field2seqlen`` says.
    """

    kind: str
    source: str
    size: int
    length: Any


@dataclass(frozen=True)
class Catalogue:
    """What a dataset knows that a trained model needs to serve.

    Args:
        users: Token of each user, by number; 0 is the padding.
        items: Token of each item, by number; 0 is the padding.
        titles: Title of each item, or None.
        clicks: What each user has clicked.
        fields: The columns, in RecBole's order.
        user_features: Columns of users that the model reads, ``[n_users, ...]``.
        item_features: Columns of items that the model reads, ``[n_items, ...]``.
        trained_on: Users and items of the training clicks, ``[n]`` each, for models that are built
            from them; else None.
        preloaded: Matrices that the model is built from, by column.
    """

    users: list[str]
    items: list[str]
    titles: list[str] | None
    clicks: KnownClicks
    fields: dict[str, Field]
    user_features: dict[str, Tensor]
    item_features: dict[str, Tensor]
    trained_on: tuple[Tensor, Tensor] | None = None
    preloaded: dict[str, Tensor] | None = None

    def packed(self) -> dict[str, Any]:
        """Return it as values that a checkpoint holds."""
        fields = {
            name: [each.kind, each.source, each.size, each.length]
            for name, each in self.fields.items()
        }
        return {
            "users": pack(self.users),
            "items": pack(self.items),
            "titles": None if self.titles is None else pack(self.titles),
            "clicks": torch.from_numpy(self.clicks.items),
            "counts": torch.from_numpy(self.clicks.counts),
            "left_out": bits_of(self.clicks.left_out),
            "fields": fields,
            "user_features": _narrow(self.user_features),
            "item_features": _narrow(self.item_features),
            "trained_on": self.trained_on,
            "preloaded": self.preloaded,
        }

    @classmethod
    def unpacked(cls, values: Mapping[str, Any]) -> Catalogue:
        """Return what :meth:`packed` was called on."""
        titles = values["titles"]
        return cls(
            users=unpack(values["users"]),
            items=unpack(values["items"]),
            titles=None if titles is None else unpack(titles),
            clicks=_clicks(values),
            fields={name: Field(*each) for name, each in values["fields"].items()},
            user_features=_widen(values["user_features"]),
            item_features=_widen(values["item_features"]),
            trained_on=values["trained_on"],
            preloaded=values["preloaded"],
        )


def catalogue_of(dataset: Any, model: Any) -> Catalogue:
    """Take from a training set what a model needs to serve.

    Args:
        dataset: The training set that the model was built for.
        model: The bare model.
    """
    reads_columns = fields_read(model)(_ANY)
    is_general = getattr(model, "type", None) == ModelType.GENERAL
    feat, names = dataset.inter_feat, (dataset.uid_field, dataset.iid_field)
    built = tuple(feat[name].to(torch.int32) for name in names) if is_general else None
    preloaded = getattr(dataset, "_preloaded_weight", None) or {}
    return Catalogue(
        users=[str(token) for token in dataset.field2id_token[dataset.uid_field]],
        items=[str(token) for token in dataset.field2id_token[dataset.iid_field]],
        titles=titles_of(dataset),
        clicks=known_clicks(dataset),
        fields={str(name): _field(dataset, name) for name in dataset.field2type},
        user_features=_columns(dataset.user_feat) if reads_columns else {},
        item_features=_columns(dataset.item_feat) if reads_columns else {},
        trained_on=None if built is None else (built[0], built[1]),
        preloaded={name: torch.from_numpy(np.array(each)) for name, each in preloaded.items()},
    )


def _clicks(values: Mapping[str, Any]) -> KnownClicks:
    items = values["clicks"].numpy()
    left_out = marks_of(values.get("left_out"), len(items))
    return KnownClicks(items, values["counts"].numpy(), left_out)


def _field(dataset: Any, name: str) -> Field:
    kind, source = dataset.field2type[name], dataset.field2source[name]
    made = kind in _OF_TOKENS and name not in dataset.field2id_token  # a history: nobody asks
    size = 0 if made else dataset.num(name)
    length = dataset.field2seqlen.get(name)
    if isinstance(length, (tuple, list)):
        length = tuple(map(int, length))
        size = 0  # a history of sequences: nobody asks, either
    elif length is not None:
        length = int(length)
    return Field(kind.value, getattr(source, "value", str(source)), int(size), length)


def _columns(feat: Any) -> dict[str, Tensor]:
    return {} if feat is None else {str(name): feat[name] for name in feat}


def _narrow(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Write numbers of tokens in four bytes; all that RecBole has are of eight."""
    return {
        name: column.to(torch.int32) if column.dtype == torch.int64 else column
        for name, column in columns.items()
    }


def _widen(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: column.long() if column.dtype == torch.int32 else column
        for name, column in columns.items()
    }
