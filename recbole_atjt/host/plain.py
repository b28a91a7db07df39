"""RecBole's settings as plain values."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np


def plain_config(config: Any) -> dict[str, Any]:
    """Return RecBole's final settings as plain JSON values.

    Args:
        config: RecBole's Config.

    Returns:
        Numbers, booleans, strings, lists and dicts; an Enum is its name, whatever else its text.
    """
    return {str(key): _plain(value) for key, value in config.final_config_dict.items()}


def with_values(config: Any, **values: Any) -> Any:
    """Return a config with other values; the given one stays as it is.

    Args:
        config: RecBole's Config.
        values: Keys and their values in the copy.
    """
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **values}
    return changed


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    return str(value)
