"""Which strategy a training has: said, and refused where it is none that can be meant."""

from __future__ import annotations

import difflib
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.host.keys import recbole_keys
from recbole_atjt.model.table import model_keys
from recbole_atjt.settings.declared import declared_by
from recbole_atjt.settings.explained import declared_keys
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import find_strategy, weighting_of

#: How alike an unknown key has to be to one of ours to be a slip of the pen.
_ALIKE = 0.85


def active_weighting(config: Any, weighting: Weighting | None) -> str:
    """Say in one line how sequences are weighted.

    Args:
        config: RecBole's ``Config`` or ours.
        weighting: The strategy of the model; None for a bare one.

    Raises:
        UsageError: The config names a strategy, and the model is a bare one.
    """
    name = weighting_of(config)
    if weighting is not None:
        return f"weighting: {name if name != 'none' else type(weighting).__name__}"
    if find_strategy(name) is not None:
        raise UsageError(
            f"weighting={name}, but the model is not wrapped: give "
            "DenoisingRecommender(model, config, train_data.dataset), or weighting=none"
        )
    return f"weighting: {name}, plain training"


def refuse_misspelt(config: Any) -> None:
    """Refuse keys of a config that are nearly ours, which RecBole's own ``Config`` lets through.

    Raises:
        UsageError: Names the key and the one that is meant.
    """
    ours = {item.key for item in explained_keys()}
    known = ours | recbole_keys() | {item.key for item in model_keys()}
    declared = declared_by(getattr(config, "model_class", object))
    if declared is not None:
        known |= {item.key for item in declared_keys(declared)}
    for key in getattr(config, "external_config_dict", {}):
        if key in known:
            continue
        meant = difflib.get_close_matches(str(key), ours, n=1, cutoff=_ALIKE)
        if meant:
            raise UsageError(f"key '{key}' is unknown, did you mean '{meant[0]}'?")
