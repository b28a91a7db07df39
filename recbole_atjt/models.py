"""Which models there are: RecBole's registry and our own package of models."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

import recbole.trainer
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

import recbole_atjt.model
from recbole_atjt.errors import UsageError, nearest

_ROOMS = {
    ModelType.GENERAL: "general_recommender",
    ModelType.SEQUENTIAL: "sequential_recommender",
    ModelType.CONTEXT: "context_aware_recommender",
}
#: Families of RecBole that this package does not train.
_REFUSED_ROOMS = {"knowledge_aware_recommender": "knowledge-aware"}
_DECISION_TREES = ("XGBoost", "LightGBM")


def registered_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return RecBole's models and those of :mod:`recbole_atjt.model`, by name.

    Args:
        kind: ``ModelType.SEQUENTIAL``, ``CONTEXT`` or ``GENERAL``; None for all three.
    """
    return {**recbole_models(kind), **own_models(kind)}


@cache
def recbole_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return RecBole's models by name.

    Args:
        kind: ``ModelType.SEQUENTIAL``, ``CONTEXT`` or ``GENERAL``; None for all three.
    """
    found: dict[str, type[AbstractRecommender]] = {}
    for room_kind, room in _ROOMS.items():
        if kind in (None, room_kind):
            found.update(_models_of(room))
    return {name: model for name, model in found.items() if kind in (None, model.type)}


@cache
def own_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return the models of :mod:`recbole_atjt.model` by name: class ``X`` in a module ``x``.

    Args:
        kind: As for :func:`recbole_models`.
    """
    found: dict[str, type[AbstractRecommender]] = {}
    for entry in pkgutil.iter_modules(recbole_atjt.model.__path__):
        module = importlib.import_module(f"{recbole_atjt.model.__name__}.{entry.name}")
        for name, value in vars(module).items():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if is_own and name.lower() == entry.name:
                found[name] = value
    return {name: model for name, model in found.items() if kind in (None, model.type)}


def _models_of(room: str) -> dict[str, type[AbstractRecommender]]:
    package = importlib.import_module(f"recbole.model.{room}")
    return {
        name: value
        for name, value in vars(package).items()
        if inspect.isclass(value)
        and issubclass(value, AbstractRecommender)
        and value.__module__ == f"recbole.model.{room}.{name.lower()}"
    }


def find_model(name: str) -> type[AbstractRecommender]:
    """Return the registered model called ``name``.

    Raises:
        UsageError: No such model, or one of a family that is not trained here.
    """
    known = registered_models()
    if name in known:
        _refuse_own_training(name)
        return known[name]
    families = dict.fromkeys(_DECISION_TREES, "decision tree")
    for room, family in _REFUSED_ROOMS.items():
        families.update(dict.fromkeys(_models_of(room), family))
    if name in families:
        raise UsageError(
            f"model={name} is a {families[name]} model: general, sequential and context-aware "
            "models are trained here"
        )
    raise UsageError(
        f"model={name} is unknown{nearest(name, known)}: use a model of RecBole 1.2.1 "
        f"or one of {', '.join(own_models())}"
    )


def _refuse_own_training(name: str) -> None:
    """Refuse models that RecBole trains with a trainer of their own: plain steps would be wrong."""
    if hasattr(recbole.trainer, f"{name}Trainer") and name != "S3Rec":
        raise UsageError(
            f"model={name} is trained by RecBole's {name}Trainer, which does not go with this "
            "package: use a model that RecBole's Trainer trains"
        )
