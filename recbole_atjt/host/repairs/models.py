"""Repairs of single models of RecBole and of the batches they fail on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole_atjt.host.repairs.override import override
from recbole_atjt.host.traits import traits_of


def restore_sparse_update() -> None:
    """Give ``dok_matrix`` the method ``_update`` that scipy dropped.

    Called in ``model/general_recommender/lightgcn.py:111``, and so in GCMC, NCL, NGCF and
    SpectralCF; in ``model/knowledge_aware_recommender/kgin.py:356`` and in MCCLK.
    """
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)


def cast_ksr_relations() -> None:
    """Make KSR's relations float32, as its weights (``model/sequential_recommender/ksr.py:92``).

    They are preloaded as float64, which the layers refuse.
    """
    from recbole.model.sequential_recommender.ksr import KSR

    @override(KSR, "__init__")
    def initialize(original: Callable[..., None], model: Any, config: Any, dataset: Any) -> None:
        original(model, config, dataset)
        model.relation_Matrix = model.relation_Matrix.float()


def flatten_kd_dagfm_scores() -> None:
    """Let KD_DAGFM predict ``[B]`` (``model/context_aware_recommender/kd_dagfm.py:112``).

    It gives ``[B, 1]``, which RecBole's ranking evaluation cannot scatter.
    """
    from recbole.model.context_aware_recommender.kd_dagfm import KD_DAGFM

    @override(KD_DAGFM, "predict")
    def predict(original: Callable[..., Any], model: Any, interaction: Any) -> Any:
        return original(model, interaction).reshape(-1)


def count_tower_fields() -> None:
    """Count only embedded float columns in DSSM's towers (``model/abstract_recommender.py:267``).

    A float column outside ``numerical_features`` is not embedded, but widens the tower's input.
    """
    from recbole.model.abstract_recommender import ContextRecommender
    from recbole.utils import FeatureType

    @override(ContextRecommender, "__init__")
    def initialize(original: Callable[..., None], model: Any, config: Any, dataset: Any) -> None:
        original(model, config, dataset)
        if not model.double_tower:
            return
        floats = (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
        for side in ("user", "item"):
            fields = getattr(model, f"{side}_field_names")
            ignored = [
                name
                for name in fields
                if dataset.field2type[name] in floats and name not in model.numerical_features
            ]
            counter = f"{side}_float_field_num"
            setattr(model, counter, getattr(model, counter) - len(ignored))


def drop_single_sample_batch() -> None:
    """Leave out a last training batch of one sample for the seven models that fail on it.

    ``TrainDataLoader`` yields it (``data/dataloader/general_dataloader.py:44``). Six have batch
    normalisation (``model/layers.py:77``), which needs two; KD_DAGFM squeezes the batch away. Other
    models get it as before.
    """
    from recbole.data.dataloader import TrainDataLoader

    @override(TrainDataLoader, "__init__")
    def initialize(
        original: Callable[..., None], loader: Any, config: Any, *args: Any, **kwargs: Any
    ) -> None:
        original(loader, config, *args, **kwargs)
        samples = len(loader.batch_sampler.sampler)
        is_single = loader.times == 1 and samples > loader.step and samples % loader.step == 1
        if is_single and traits_of(config.model_class).needs_two_samples:
            loader.batch_sampler.drop_last = True


def refuse_items_that_all_clicked() -> None:
    """Refuse what LINE would look for (``model/general_recommender/line.py:89``) and never find.

    It draws users until one has not clicked an item, also where all have.
    """
    from recbole.model.general_recommender.line import LINE

    @override(LINE, "get_used_ids")
    def get_used_ids(original: Callable[..., Any], model: Any) -> Any:
        used = original(model)
        most = max(range(len(used)), key=lambda item: len(used[item]))
        if len(used[most]) >= model.n_users - 1:
            raise ValueError(
                f"all {model.n_users - 1} users have clicked item number {most}, and LINE samples "
                "a user who has not: leave it out by item_inter_num_interval, or use another model"
            )
        return used
