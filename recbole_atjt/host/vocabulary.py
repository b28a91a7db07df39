"""What the numbers of a dataset stand for, as digests that a checkpoint can keep."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from torch import Tensor

#: Hexadecimal digits of a digest.
_DIGITS = 16


def vocabulary_of(dataset: Any) -> dict[str, str]:
    """Return a digest of the tokens of each column, in the order of their numbers.

    Args:
        dataset: A dataset of RecBole's; another object has none.
    """
    digests: dict[int, str] = {}  # a history has the very array of the items
    found = {}
    for name, tokens in getattr(dataset, "field2id_token", {}).items():
        if id(tokens) not in digests:
            digests[id(tokens)] = _digest("".join(f"{len(str(t))}:{t}" for t in tokens).encode())
        found[str(name)] = digests[id(tokens)]
    return found


def interactions_of(dataset: Any) -> str:
    """Return a digest of the users and items of a dataset's rows, in their order."""
    return clicks_of(*(dataset.inter_feat[name] for name in (dataset.uid_field, dataset.iid_field)))


def clicks_of(users: Tensor, items: Tensor) -> str:
    """Return a digest of the users and items of clicks, ``[n]`` each, in their order."""
    return _digest(*(np.ascontiguousarray(column.numpy()).data for column in (users, items)))


def _digest(*parts: Any) -> str:
    total = hashlib.blake2b(digest_size=_DIGITS // 2)
    for part in parts:
        total.update(part)
    return total.hexdigest()
