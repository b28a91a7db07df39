"""Models from outside RecBole: found by module and class, and the keys that they read."""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module

from recbole.model.abstract_recommender import AbstractRecommender

from recbole_atjt.errors import AtjtError, UsageError, in_one_line
from recbole_atjt.host.keys import keys_read

_KNOWN = ("recbole", "recbole_atjt", "torch", "builtins")


def is_outside(module: str) -> bool:
    """Tell whether a module is neither of RecBole, nor of torch, nor ours."""
    return module.split(".")[0] not in _KNOWN


def load_model_class(name: str) -> type[AbstractRecommender]:
    """Import the model that ``module:Class`` names; modules of the working folder are found, too.

    Raises:
        UsageError: There is no such module or class, or it is no model of RecBole's kind.
    """
    module_name, _, class_name = name.partition(":")
    if not (class_name.isidentifier() and all(map(str.isidentifier, module_name.split(".")))):
        raise UsageError(f"model={name} is not of the form module:Class, such as my_models:MyModel")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module_name), class_name)
    except AtjtError:
        raise
    except Exception as error:
        raise UsageError(f"model={name} can't be loaded: {in_one_line(error)}") from error
    if not (inspect.isclass(found) and issubclass(found, AbstractRecommender)):
        raise UsageError(
            f"model={name} is no class derived from RecBole's SequentialRecommender, "
            "GeneralRecommender or ContextRecommender"
        )
    return found


def keys_of_source(model: type) -> set[str]:
    """Return the keys that a model from outside reads by name; none where it has no source."""
    found: set[str] = set()
    for base in model.__mro__[:-1]:
        if not is_outside(base.__module__):
            continue
        try:
            found |= set(keys_read(inspect.getsource(base)))
        except (OSError, TypeError):  # made in a console, or compiled
            continue
    return found
