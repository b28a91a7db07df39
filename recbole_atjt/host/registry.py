"""Which models RecBole has."""

from __future__ import annotations

import importlib
import inspect
from functools import cache

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

_ROOMS = {
    ModelType.GENERAL: "general_recommender",
    ModelType.SEQUENTIAL: "sequential_recommender",
    ModelType.CONTEXT: "context_aware_recommender",
}


@cache
def recbole_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return RecBole's models by name.

    Args:
        kind: ``ModelType.SEQUENTIAL``, ``CONTEXT`` or ``GENERAL``; None for all three.
    """
    found: dict[str, type[AbstractRecommender]] = {}
    for room_kind, room in _ROOMS.items():
        if kind in (None, room_kind):
            found.update(models_of(room))
    return {name: model for name, model in found.items() if kind in (None, model.type)}


def models_of(room: str) -> dict[str, type[AbstractRecommender]]:
    """Return the models of one of RecBole's packages, such as ``knowledge_aware_recommender``."""
    package = importlib.import_module(f"recbole.model.{room}")
    return {
        name: value
        for name, value in vars(package).items()
        if inspect.isclass(value)
        and issubclass(value, AbstractRecommender)
        and value.__module__ == f"recbole.model.{room}.{name.lower()}"
    }
