"""What RecBole is given beyond repairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.host.repairs.override import override
from recbole_atjt.host.vocabulary import vocabulary_of


def give_users_to_other_autoencoders() -> None:
    """Give batches of users to autoencoders of other packages, too (``data/utils.py:241``).

    RecBole has a list of its own autoencoders' names; a model outside says so by a class attribute
    ``trains_on_users``.
    """
    import recbole.data.utils as module
    from recbole.data.dataloader import UserDataLoader

    @override(module, "get_dataloader")
    def get_dataloader(original: Callable[..., Any], config: Any, phase: str) -> Any:
        wants_users = getattr(getattr(config, "model_class", None), "trains_on_users", False)
        return UserDataLoader if wants_users and phase == "train" else original(config, phase)


def count_codes() -> None:
    """Count tokens that are codes without a loop over rows (``data/dataset/dataset.py:918``).

    Counts, and what RecBole does with them, stay the same.
    """
    from recbole.data.dataset import dataset as module

    vars(module)["Counter"] = CodeCounter


class CodeCounter(Counter):  # type: ignore[type-arg]
    """A counter that takes a categorical column at once; a missing value counts as NaN."""

    def update(self, iterable: Any = None, /, **kwds: int) -> None:
        """Add counts: of values, or from a mapping."""
        if isinstance(iterable, pd.Categorical):
            names = np.asarray(iterable.categories, dtype=object)
            missing, *counts = np.bincount(iterable.codes + 1, minlength=len(names) + 1).tolist()
            iterable = {name: count for name, count in zip(names, counts) if count}
            if missing:
                iterable[np.nan] = missing
        super().update(iterable, **kwds)


def remember_normalized_ranges() -> None:
    """Keep the range of each column of interactions that is normalised (``dataset.py:659``).

    RecBole scales it to 0 to 1 and forgets from where (its ml-100k does so with ratings); the
    dataset's attribute ``normalized_ranges`` says it: name -> lowest and highest value.
    """
    from recbole.data.dataset import Dataset
    from recbole.utils import FeatureType

    def ranges(dataset: Any) -> dict[str, tuple[float, float]]:
        feat = dataset.inter_feat
        columns = [] if feat is None else list(feat)
        return {
            name: (float(feat[name].min()), float(feat[name].max()))
            for name in columns
            if dataset.field2type.get(name) == FeatureType.FLOAT and len(feat)
        }

    @override(Dataset, "_normalize")
    def _normalize(original: Callable[..., Any], self: Any) -> None:
        before = ranges(self)
        original(self)
        after = ranges(self)
        self.normalized_ranges = {
            name: found for name, found in before.items() if found != after[name]
        }


def remember_vocabulary() -> None:
    """Keep with a model what it is built for (``model/abstract_recommender.py:92`` and below).

    RecBole's models know how many users and items there are, not which. The attribute
    ``built_for`` says it: ``tokens``, a digest for each column, and ``history``, the histories'
    length.
    """
    from recbole.model import abstract_recommender as module

    for base in (
        module.GeneralRecommender,
        module.SequentialRecommender,
        module.ContextRecommender,
    ):

        @override(base, "__init__")
        def initialize(
            original: Callable[..., None], model: Any, config: Any, dataset: Any
        ) -> None:
            original(model, config, dataset)
            vars(model)["built_for"] = {
                "tokens": vocabulary_of(dataset),
                "history": getattr(model, "max_seq_length", None),
            }


def refuse_weighted_models() -> None:
    """Ask a model whether a trainer can train it (``trainer/trainer.py:111``).

    RecBole's trainers would train a weighted model, but neither its recognisers nor its schedule.
    A model's method ``require_trainer`` raises where it is not for this one.
    """
    from recbole.trainer import Trainer

    @override(Trainer, "__init__")
    def initialize(original: Callable[..., None], trainer: Any, config: Any, model: Any) -> None:
        require = getattr(model, "require_trainer", None)
        if require is not None:
            require(trainer)
        original(trainer, config, model)


def fields_read(model: Any) -> Callable[[str], bool]:
    """Tell of which columns a model reads the numbers: the items', and others if it has them.

    Args:
        model: A RecBole model.
    """
    from recbole.model.layers import ContextSeqEmbAbstractLayer
    from recbole.utils import ModelType

    if getattr(model, "type", None) == ModelType.CONTEXT or any(
        isinstance(module, ContextSeqEmbAbstractLayer) for module in model.modules()
    ):
        return lambda name: True
    read = {getattr(model, "ITEM_ID", None)}
    if hasattr(model, "n_users"):
        read.add(getattr(model, "USER_ID", None))
    return read.__contains__
