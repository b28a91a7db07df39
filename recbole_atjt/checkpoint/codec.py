"""Values as JSON beside named tensors, and back."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_atjt.errors import TrainingError


def encode(value: Any, path: str, store: dict[str, Tensor]) -> Any:
    """Turn a value into JSON; tensors go to ``store``, and what JSON lacks is tagged with ``$``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_complex() or value.is_quantized:
            kind = f"{value.layout} tensor of {value.dtype}"
            raise TrainingError(f"{path}: a checkpoint cannot hold a {kind}")
        while path in store:
            path += "'"
        # A copy of its own: safetensors refuses tensors that share memory, such as tied weights.
        store[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"$tensor": path}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if type(value) in (list, tuple):
        items = [encode(item, f"{path}.{index}", store) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) in (dict, OrderedDict):
        pairs = [(key, encode(item, f"{path}.{key}", store)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(pairs)
        return {"$dict": [[encode(key, path, store), item] for key, item in pairs]}
    raise TrainingError(f"{path}: a checkpoint cannot hold a {type(value).__name__}")


def decode(value: Any, store: Mapping[str, Tensor]) -> Any:
    """Turn what :func:`encode` gave back into the value."""
    if isinstance(value, list):
        return [decode(item, store) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return store[value["$tensor"]]
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(decode(item, store) for item in value["$tuple"])
    if "$dict" in value:
        return {decode(key, store): decode(item, store) for key, item in value["$dict"]}
    return {key: decode(item, store) for key, item in value.items()}


def describe(tensor: Tensor | None) -> str:
    """Return type and shape of a tensor as text, such as ``float32[3, 4]``."""
    return "absent" if tensor is None else f"{str(tensor.dtype)[6:]}{list(tensor.shape)}"
