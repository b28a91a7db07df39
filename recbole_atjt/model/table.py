"""Which models there are: RecBole's registry and our own package of models."""

from __future__ import annotations

import recbole.trainer
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.host.registry import models_of, recbole_models
from recbole_atjt.host.traits import traits_of
from recbole_atjt.model.ael import AEL
from recbole_atjt.model.mf import MF
from recbole_atjt.model.outside import load_model_class
from recbole_atjt.settings.explained import Explained, declared_keys

#: Families of RecBole that this package does not train.
_REFUSED_ROOMS = {"knowledge_aware_recommender": "knowledge-aware"}
_DECISION_TREES = ("XGBoost", "LightGBM")


def registered_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return RecBole's models and those of :mod:`recbole_atjt.model`, by name.

    Args:
        kind: ``ModelType.SEQUENTIAL``, ``CONTEXT`` or ``GENERAL``; None for all three.
    """
    return {**recbole_models(kind), **own_models(kind)}


OWN: dict[str, type[AbstractRecommender]] = {"AEL": AEL, "MF": MF}
"""The models of this package, by name."""


def own_models(kind: ModelType | None = None) -> dict[str, type[AbstractRecommender]]:
    """Return the models of this package by name.

    Args:
        kind: As for :func:`registered_models`.
    """
    return {name: model for name, model in OWN.items() if kind in (None, model.type)}


def trained_models() -> dict[str, list[str]]:
    """Return the names of all models that are trained here, by kind.

    Kinds are ``sequential``, ``context-aware``, ``general``, and ``closed form``, which have no
    steps of training to weigh.
    """
    kinds = {
        ModelType.SEQUENTIAL: "sequential",
        ModelType.CONTEXT: "context-aware",
        ModelType.GENERAL: "general",
    }
    found: dict[str, list[str]] = {kind: [] for kind in (*kinds.values(), "closed form")}
    for name, model in sorted(registered_models().items(), key=lambda item: item[0].lower()):
        if not _has_own_trainer(name, model):
            found[kinds.get(model.type, "closed form")].append(name)
    return found


def model_keys() -> tuple[Explained, ...]:
    """Return the keys that models of ours add to RecBole's, explained."""
    declared = [getattr(model, "settings_class", None) for model in OWN.values()]
    return tuple(item for each in declared if each is not None for item in declared_keys(each))


def find_model(name: str) -> type[AbstractRecommender]:
    """Return the registered model called ``name``, or the class that ``module:Class`` names.

    Raises:
        UsageError: No such model, or one of a family that is not trained here.
    """
    known = registered_models()
    if not isinstance(name, str):
        raise UsageError(f"model={name} is no name: use a model of RecBole 1.2.1, such as SASRec")
    if ":" in name:
        return load_model_class(name)
    if name in known:
        _refuse_own_training(name, known[name])
        return known[name]
    families = dict.fromkeys(_DECISION_TREES, "decision tree")
    for room, family in _REFUSED_ROOMS.items():
        families.update(dict.fromkeys(models_of(room), family))
    if name in families:
        raise UsageError(
            f"model={name} is a {families[name]} model: general, sequential and context-aware "
            "models are trained here"
        )
    raise UsageError(
        f"model={name} is unknown{nearest(name, known)}: use a model of RecBole 1.2.1, "
        f"one of {', '.join(own_models())}, or module:Class"
    )


def _has_own_trainer(name: str, model: type[AbstractRecommender]) -> bool:
    return hasattr(recbole.trainer, f"{name}Trainer") and not traits_of(model).is_pretrained


def _refuse_own_training(name: str, model: type[AbstractRecommender]) -> None:
    """Refuse models that RecBole trains with a trainer of their own: plain steps would be wrong."""
    if _has_own_trainer(name, model):
        raise UsageError(
            f"model={name} is trained by RecBole's {name}Trainer, which does not go with this "
            "package: use a model that RecBole's Trainer trains"
        )
