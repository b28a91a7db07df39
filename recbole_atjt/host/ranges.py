"""Types and ranges of RecBole's own settings, which it checks late or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from recbole_atjt.errors import UsageError, nearest

#: Names that RecBole would replace by its default, with a line in the log at most.
_CHOICES = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
    "state": ("info", "debug", "warning", "error", "critical"),
}
EVAL_ARGS = ("split", "order", "group_by", "mode")
NEGATIVES = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num")
#: Smallest value of the settings that are counts.
_LEAST = {
    "epochs": 1,
    "train_batch_size": 1,
    "eval_batch_size": 1,
    "eval_scores_mib": 1,
    "pretrain_epochs": 1,
    "MAX_ITEM_LIST_LENGTH": 1,
    "seed": 0,
    "worker": 0,
    "eval_step": 0,
    "stopping_step": 0,
    "loss_decimal_place": 0,
    "metric_decimal_place": 0,
}
#: Largest value of some of them; what is above is a slip of the pen.
_LARGEST = {
    "seed": 2**32 - 1,
    "worker": 256,
    "epochs": 2**31,
    "train_batch_size": 2**31,
    "eval_batch_size": 2**31,
}
_MOST_LAYERS = 1024
_LAYERS = re.compile(r"^(n|num)_(layers|heads)$|^(\w+_)?num_(layers|heads)$|^layers?$")
_SIZE = re.compile(r"(_size|_dim|_dimension)$|^(n|num)_(layers|heads)$")
_NAME = re.compile(r"data_path|valid_metric|LIST_SUFFIX|NEG_PREFIX|seq_separator|\w+_FIELD")
_INTERVAL = re.compile(r"\s*[(\[]\s*[^\s,;]+\s*,\s*[^\s,;]+\s*[)\]]\s*")
_MAPPINGS = (
    "load_col",
    "unload_col",
    "unused_col",
    "val_interval",
    "threshold",
    "preload_weight",
    "discretization",
    "seq_len",
)
_LISTS = ("benchmark_filename", "normalize_field", "numerical_features", "value_metrics")
#: RecBole would keep pickles, which are neither written nor read here.
_PICKLES = ("save_dataset", "save_dataloaders", "dataloaders_save_path", "dataset_save_path")
_SEPARATORS = ("field_separator", "seq_separator")
_SEPARATOR = re.compile(r"[^\r\n\0]")
_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
_CLIP = ("max_norm", "norm_type", "error_if_nonfinite", "foreach")


def check_fearec(final: Mapping[str, Any]) -> None:
    """Check what FEARec divides by (``sequential_recommender/fearec.py:476``) and transforms.

    Raises:
        UsageError: One layer, or an odd length of histories.
    """
    layers, length = final["n_layers"], final["MAX_ITEM_LIST_LENGTH"]
    if layers < 2:
        raise UsageError(f"n_layers={layers} is out of range: model=FEARec needs at least 2")
    if length % 2:
        raise UsageError(
            f"MAX_ITEM_LIST_LENGTH={length} is odd: model=FEARec transforms an even number of items"
        )


def allowed(key: str) -> str:
    """Say which values a key of RecBole's may have; empty where nothing is checked."""
    if key in _CHOICES:
        return ", ".join(_CHOICES[key])
    if key in _MAPPINGS:
        return "a mapping, {NAME: VALUE}"
    if key.endswith("_num_interval"):
        return "an interval, such as [5,inf)"
    least = 1 if _SIZE.search(key) else _LEAST.get(key)
    most = f", at most {_LARGEST[key]}" if key in _LARGEST else ""
    return "" if least is None else f"a whole number of at least {least}{most}"


def check_values(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check what a caller gives for RecBole's settings.

    Args:
        given: Keys and values from files and dictionary.
        defaults: The property files' values; a number is wanted where they hold a number.

    Raises:
        UsageError: A value of the wrong type or out of range; names key, value and what is right.
    """
    for key, value in given.items():
        _check_kind(key, value, defaults.get(key))
        _check_count(key, value)
        _check_data(key, value)
    _check_training(given)
    if "eval_args" in given:
        _check_evaluation(given["eval_args"])
    if "topk" in given:
        _check_topk(given["topk"])
    if isinstance(given.get("train_neg_sample_args"), dict):
        _check_negatives(given["train_neg_sample_args"])


def _check_kind(key: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool) and value not in (0, 1):
            raise UsageError(f"{key}={value} is not True or False")
    elif isinstance(default, (int, float)):
        if not _is_number(value):
            raise UsageError(f"{key}={value} is not a number")
    elif isinstance(default, list) and (value is None or _is_number(value)) and key != "topk":
        raise UsageError(f"{key}={value} is not a list, such as {default}")
    elif _NAME.fullmatch(key) and not isinstance(value, str):
        raise UsageError(f"{key}={value} is not a name, such as {default}")


def _check_count(key: str, value: Any) -> None:
    least = 1 if _SIZE.search(key) and _is_number(value) else _LEAST.get(key)
    if least is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{key}={value} is not a whole number")
    if value < least:
        raise UsageError(f"{key}={value} is out of range: it must be at least {least}")
    most = _MOST_LAYERS if _LAYERS.search(key) else _LARGEST.get(key, value)
    if value > most:
        raise UsageError(f"{key}={value} is out of range: it must be at most {most}")


def _check_data(key: str, value: Any) -> None:
    if key in _PICKLES and value:
        raise UsageError(f"{key}={value}: RecBole's pickles are not written or read here")
    if key in _MAPPINGS and not isinstance(value, (dict, type(None))):
        raise UsageError(f"{key}={value} is not of the form {{NAME: VALUE}}")
    if key in _LISTS and not isinstance(value, (list, tuple, str, type(None))):
        raise UsageError(f"{key}={value} is not a list of names")
    if key.endswith("_num_interval") or key == "val_interval":
        texts = value.values() if isinstance(value, dict) else [value]
        for text in texts:
            if isinstance(text, (str, int)) and not all(
                map(_INTERVAL.fullmatch, str(text).split(";"))
            ):
                raise UsageError(f"{key}={value} is not an interval, such as [5,inf)")
    if key == "encoding" and value is not None:
        try:
            "a".encode(value)
        except (LookupError, TypeError, ValueError, UnicodeError) as error:
            raise UsageError(f"encoding={value} is unknown: use utf-8 or another") from error
    if key in _SEPARATORS and not (isinstance(value, str) and _SEPARATOR.fullmatch(value)):
        raise UsageError(f"{key}={value!r} must be one character, and none that ends a line")


def _check_training(given: Mapping[str, Any]) -> None:
    if "learning_rate" in given and not 0 < given["learning_rate"] < float("inf"):
        raise UsageError(
            f"learning_rate={given['learning_rate']} is out of range: it must be above 0"
        )
    if "weight_decay" in given and not 0 <= given["weight_decay"] < float("inf"):
        raise UsageError(
            f"weight_decay={given['weight_decay']} is out of range: it must be at least 0"
        )
    for key, choices in _CHOICES.items():
        name = str(given.get(key, choices[0]))
        if name.lower() not in choices:
            raise UsageError(
                f"{key}={name} is unknown{nearest(name, choices)}: use one of {', '.join(choices)}"
            )
    clip = given.get("clip_grad_norm")
    well_formed = isinstance(clip, dict) and {"max_norm"} <= {*clip} <= set(_CLIP)
    if clip and not (well_formed and _is_number(clip["max_norm"])):
        raise UsageError(f"clip_grad_norm={clip} is not of the form {{max_norm: 1.0}}")


def _check_evaluation(arguments: Any) -> None:
    if not isinstance(arguments, dict):
        raise UsageError(f"eval_args={arguments} is not of the form {{split: ..., order: TO}}")
    for key in arguments:
        if key not in EVAL_ARGS:
            raise UsageError(
                f"eval_args: '{key}' is unknown{nearest(str(key), EVAL_ARGS)}; "
                f"there are {', '.join(EVAL_ARGS)}"
            )
    if arguments.get("order", "RO") not in ("RO", "TO"):
        raise UsageError(f"eval_args order: '{arguments['order']}' is unknown; use RO or TO")
    if arguments.get("group_by") not in ("user", "none", None):
        raise UsageError(f"eval_args group_by: '{arguments['group_by']}' is unknown; use user")
    modes = arguments.get("mode", "full")
    for mode in modes.values() if isinstance(modes, dict) else [modes]:
        if not _MODE.fullmatch(str(mode)):
            raise UsageError(
                f"eval_args mode: '{mode}' is unknown; use full, labeled, uni100 or pop100 "
                "(any number)"
            )


def _check_topk(topk: Any) -> None:
    values = topk if isinstance(topk, list) else [topk]
    whole = all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in values)
    if not values or not whole:
        raise UsageError(f"topk={topk} must be whole numbers of at least 1, such as [5, 10]")


def _check_negatives(arguments: Mapping[str, Any]) -> None:
    for key, value in arguments.items():
        if key not in NEGATIVES:
            raise UsageError(
                f"train_neg_sample_args: '{key}' is unknown{nearest(str(key), NEGATIVES)}; "
                f"there are {', '.join(NEGATIVES)}"
            )
        least = {"sample_num": 1, "candidate_num": 0}.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if least is not None and not (whole and value >= least):
            raise UsageError(
                f"train_neg_sample_args {key}: {value} must be a whole number of at least {least}"
            )
        if key == "alpha" and not _is_number(value):
            raise UsageError(f"train_neg_sample_args alpha: {value} is not a number")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
