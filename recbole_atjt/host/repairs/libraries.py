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
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recbole_atjt.host.repairs.override import override


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

    @override(Config, "compatibility_settings")
    def compatibility_settings(_original: Callable[..., None], _config: object) -> None:
        restore_numpy_aliases()


def keep_counts_of_training_data() -> None:
    """Let metrics of the catalogue be computed (``evaluator/collector.py:227``).

    GiniIndex, ItemCoverage, AveragePopularity, ShannonEntropy and TailPercentage read numbers and
    counters of the training data, on which ``get_data_struct`` calls ``cpu()``.
    """
    from recbole.evaluator import Collector

    @override(Collector, "get_data_struct")
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
