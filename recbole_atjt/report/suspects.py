"""The items that a strategy holds most responsible for noise, by their names in the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_atjt.data.titles import TITLES


def named_items(dataset: Any, suspects: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    """Return items by token, with a title where the loaded data has one.

    Args:
        dataset: RecBole's dataset.
        suspects: Internal ids and their shares of the noise.

    Returns:
        ``item``, ``title`` (empty where there is none) and ``share`` of each.
    """
    field = dataset.iid_field
    return [
        {
            "item": str(dataset.id2token(field, item)),
            "title": _title(dataset, item),
            "share": round(share, 6),
        }
        for item, share in suspects
    ]


def _title(dataset: Any, item: int) -> str:
    features = dataset.item_feat
    name = next((each for each in TITLES if features is not None and each in features), None)
    if name is None:
        return ""
    tokens = dataset.id2token(name, features[name][item].numpy())
    words = [str(token) for token in tokens.reshape(-1)] if hasattr(tokens, "reshape") else [tokens]
    return " ".join(word for word in words if word != "[PAD]")
