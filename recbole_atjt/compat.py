"""Repairs of RecBole 1.2.1, so that it runs with current numpy, pandas, scipy and torch.

Each repair is one function. It names the file and line of RecBole that it repairs and overrides as
little as it can; what RecBole does well, it does as before. Left as they are:

* ``recbole.quick_start`` imports ray, which needs ``pkg_resources`` and ``np.bool8``: do not import
  it; nothing here does.
* ``torch.load`` of RecBole's checkpoints (``trainer/trainer.py:323`` and ``583``). They are pickles
  of live objects, which torch >= 2.6 refuses, and we do not make it load them. So with such a torch
  RecBole's own ``Trainer.resume_checkpoint`` and ``Trainer.evaluate(load_best_model=True)`` still
  fail. Our trainer writes checkpoints that need no pickle.
* ``get_flops`` (``utils/utils.py``) fails for GRU4RecCPR and SASRecCPR: nothing here calls it.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

_FAIL_ON_ONE_SAMPLE = frozenset({"DCN", "DCNV2", "DIEN", "DIN", "DSSM", "KD_DAGFM", "NFM"})


@functools.lru_cache(maxsize=1)
def apply() -> None:
    """Repair RecBole for the rest of the process; any further call does nothing."""
    stop_anomaly_detection()  # first, since any import of RecBole may turn the detection on
    restore_numpy_aliases()
    keep_numpy_names()
    load_missing_sequences()
    fill_missing_values()
    remap_token_sequences()
    split_float_sequences()
    copy_read_only_columns()
    restore_sparse_update()
    cast_ksr_relations()
    flatten_kd_dagfm_scores()
    count_tower_fields()
    drop_single_sample_batch()
    use_current_grad_scaler()
    keep_counts_of_training_data()
    give_users_to_other_autoencoders()
    remember_normalized_ranges()


def stop_anomaly_detection() -> None:
    """Undo ``set_detect_anomaly(True)`` of ``model/sequential_recommender/sine.py:25``.

    The detection makes every training step about twice as slow. The caller's own setting survives
    where this is the first import of RecBole's sequential models; where they were imported before,
    the detection is turned off.
    """
    imported_before = "recbole.model.sequential_recommender.sine" in sys.modules
    enabled = torch.is_anomaly_enabled() and not imported_before
    check_nan = torch.is_anomaly_check_nan_enabled()
    import recbole.model.sequential_recommender.sine  # noqa: F401

    torch.autograd.set_detect_anomaly(enabled, check_nan)


def restore_numpy_aliases() -> None:
    """Give numpy the names that it dropped and RecBole reads; names that exist stay as they are.

    Read in ``data/interaction.py:31``, ``data/dataset/dataset.py:652``,
    ``evaluator/metrics.py:90``, ``model/abstract_recommender.py:309`` and other places.
    """
    aliases = {
        "bool": np.bool_,
        "int": np.int_,
        "float": np.float64,
        "complex": np.complex128,
        "object": np.object_,
        "str": np.str_,
        "long": np.int_,
        "unicode": np.str_,
    }
    for name, scalar_type in aliases.items():
        if name not in vars(np):
            setattr(np, name, scalar_type)


def keep_numpy_names() -> None:
    """Replace ``Config.compatibility_settings`` (``config/configurator.py:625``).

    It reads ``np.float_``, which numpy 2 lacks, and writes over ``np.bool`` and ``np.long``, which
    numpy 2 has again.
    """
    from recbole.config import Config

    @_override(Config, "compatibility_settings")
    def compatibility_settings(_original: Callable[..., None], _config: object) -> None:
        restore_numpy_aliases()


def load_missing_sequences() -> None:
    """Make ``fillna(inplace=True)`` of ``Dataset._load_feat`` fill (``dataset.py:501``).

    In pandas 3 it fills a copy, and a missing sequence ends in ``'float' object has no attribute
    'split'``.
    """
    from recbole.data.dataset import dataset as module

    def read_csv(*args: Any, **kwargs: Any) -> _Columns:
        return _Columns(pd.read_csv(*args, **kwargs))

    pandas_of_module = types.ModuleType(pd.__name__)
    vars(pandas_of_module).update(vars(pd), read_csv=read_csv)
    vars(module)["pd"] = pandas_of_module

    @_override(module.Dataset, "_load_feat")
    def _load_feat(original: Callable[..., Any], dataset: Any, filepath: str, source: Any) -> Any:
        feat = original(dataset, filepath, source)
        return feat.frame if isinstance(feat, _Columns) else feat


def fill_missing_values() -> None:
    """Make ``fillna(inplace=True)`` of ``Dataset._fill_nan`` fill (``dataset.py:648`` and ``650``).

    In pandas 3 it fills a copy, and NaN reaches the model.
    """
    from recbole.data.dataset import Dataset

    @_override(Dataset, "_fill_nan")
    def _fill_nan(original: Callable[..., None], dataset: Any) -> None:
        frames = {name: getattr(dataset, name) for name in dataset.feat_name_list}
        try:
            for name, frame in frames.items():
                setattr(dataset, name, _Columns(frame))
            original(dataset)
        finally:
            for name, frame in frames.items():
                setattr(dataset, name, frame)


def remap_token_sequences() -> None:
    """Make ``agg(len)`` of ``Dataset._remap`` (``data/dataset/dataset.py:1217``) count by row.

    In pandas 3 it is the number of rows.
    """
    from recbole.data.dataset import Dataset

    @_override(Dataset, "_remap")
    def _remap(original: Callable[..., None], dataset: Any, remap_list: list[Any]) -> None:
        original(dataset, [(_Columns(feat), field, ftype) for feat, field, ftype in remap_list])


def split_float_sequences() -> None:
    """Make ``agg(len)`` count by row in two more methods (``data/dataset/dataset.py:712, 792``).

    ``Dataset._normalize`` and ``_discretization`` split sequences of numbers by it.
    """
    from recbole.data.dataset import Dataset

    def with_views(original: Callable[..., None], dataset: Any) -> None:
        feats = dataset.field2feats
        dataset.field2feats = lambda field: [_Columns(feat) for feat in feats(field)]
        try:
            original(dataset)
        finally:
            del dataset.field2feats

    for name in ("_normalize", "_discretization"):
        _override(Dataset, name)(with_views)


def copy_read_only_columns() -> None:
    """Give the tensors of ``Dataset._dataframe_to_interaction`` (``dataset.py:2199``) own memory.

    The columns of pandas 3 are read-only; a tensor on their memory comes with a ``UserWarning`` and
    is not safe to write to.
    """
    from recbole.data.dataset import Dataset

    @_override(Dataset, "_dataframe_to_interaction")
    def _dataframe_to_interaction(original: Callable[..., Any], dataset: Any, data: Any) -> Any:
        return original(dataset, _Columns(data))


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

    @_override(KSR, "__init__")
    def initialize(original: Callable[..., None], model: Any, config: Any, dataset: Any) -> None:
        original(model, config, dataset)
        model.relation_Matrix = model.relation_Matrix.float()


def flatten_kd_dagfm_scores() -> None:
    """Let KD_DAGFM predict ``[B]`` (``model/context_aware_recommender/kd_dagfm.py:112``).

    It gives ``[B, 1]``, which RecBole's ranking evaluation cannot scatter.
    """
    from recbole.model.context_aware_recommender.kd_dagfm import KD_DAGFM

    @_override(KD_DAGFM, "predict")
    def predict(original: Callable[..., Any], model: Any, interaction: Any) -> Any:
        return original(model, interaction).reshape(-1)


def count_tower_fields() -> None:
    """Count only embedded float columns in DSSM's towers (``model/abstract_recommender.py:267``).

    A float column outside ``numerical_features`` is not embedded, but widens the tower's input.
    """
    from recbole.model.abstract_recommender import ContextRecommender
    from recbole.utils import FeatureType

    @_override(ContextRecommender, "__init__")
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

    @_override(TrainDataLoader, "__init__")
    def initialize(
        original: Callable[..., None], loader: Any, config: Any, *args: Any, **kwargs: Any
    ) -> None:
        original(loader, config, *args, **kwargs)
        samples = len(loader.batch_sampler.sampler)
        is_single = loader.times == 1 and samples > loader.step and samples % loader.step == 1
        names = {base.__name__ for base in config.model_class.__mro__}
        if is_single and not names.isdisjoint(_FAIL_ON_ONE_SAMPLE):
            loader.batch_sampler.drop_last = True


def keep_counts_of_training_data() -> None:
    """Let metrics of the catalogue be computed (``evaluator/collector.py:227``).

    GiniIndex, ItemCoverage, AveragePopularity, ShannonEntropy and TailPercentage read numbers and
    counters of the training data, on which ``get_data_struct`` calls ``cpu()``.
    """
    from recbole.evaluator import Collector

    @_override(Collector, "get_data_struct")
    def get_data_struct(original: Callable[..., Any], collector: Any) -> Any:
        held = collector.data_struct._data_dict
        others = {key: held.pop(key) for key in list(held) if not torch.is_tensor(held[key])}
        try:
            struct = original(collector)
        finally:
            held.update(others)
        struct._data_dict.update(others)
        return struct


def use_current_grad_scaler() -> None:
    """Point ``amp`` of ``trainer/trainer.py:30`` from ``torch.cuda.amp`` at ``torch.amp``.

    Both do the same, the old one with a ``FutureWarning`` in each run.
    """
    from recbole.trainer import trainer as module

    vars(module)["amp"] = types.SimpleNamespace(
        GradScaler=functools.partial(torch.amp.GradScaler, "cuda"),
        autocast=functools.partial(torch.amp.autocast, "cuda"),
    )


def give_users_to_other_autoencoders() -> None:
    """Give batches of users to autoencoders of other packages, too (``data/utils.py:241``).

    RecBole has a list of its own autoencoders' names; a model outside says so by a class attribute
    ``trains_on_users``.
    """
    import recbole.data.utils as module
    from recbole.data.dataloader import UserDataLoader

    @_override(module, "get_dataloader")
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

    @_override(Dataset, "_normalize")
    def _normalize(original: Callable[..., Any], self: Any) -> None:
        before = ranges(self)
        original(self)
        after = ranges(self)
        self.normalized_ranges = {
            name: found for name, found in before.items() if found != after[name]
        }


class _Columns:
    """A table whose columns can be changed in place and written to, as before pandas 3."""

    def __init__(self, frame: pd.DataFrame) -> None:
        vars(self)["frame"] = frame

    def __getitem__(self, name: str) -> _Column:
        return _Column(self.frame, name)

    def __setitem__(self, name: str, values: Any) -> None:
        self.frame[name] = values

    def __iter__(self) -> Iterator[str]:
        return iter(self.frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.frame, name, value)


class _Column:
    """One column of `_Columns`."""

    def __init__(self, frame: pd.DataFrame, name: str) -> None:
        self._frame = frame
        self._name = name

    @property
    def values(self) -> Any:
        values = self._frame[self._name].values
        read_only = isinstance(values, np.ndarray) and not values.flags.writeable
        return values.copy() if read_only else values

    def fillna(self, value: Any, inplace: bool = False) -> pd.Series | None:
        filled = self._frame[self._name].fillna(value)
        if not inplace:
            return filled
        self._frame[self._name] = filled
        return None

    def agg(self, function: Callable[..., Any]) -> Any:
        column = self._frame[self._name]
        return column.map(len) if function is len else column.agg(function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame[self._name], name)


def _override(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace ``name`` of a class or module by a function that gets the old one first."""
    original = getattr(owner, name)

    def install(replacement: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            return replacement(original, *args, **kwargs)

        setattr(owner, name, method)
        return method

    return install
