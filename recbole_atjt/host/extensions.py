"""What RecBole is given beyond repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole_atjt.host.repairs.override import override


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
