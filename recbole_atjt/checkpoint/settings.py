"""Which settings a checkpoint and a run must have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import plain_config
from recbole_atjt.settings.declared import declared_by
from recbole_atjt.settings.explained import declared_keys
from recbole_atjt.weighting.table import own_keys, strategy_keys, weighting_of

Difference = tuple[str, Any, Any]
"""A key, its value then and its value now."""

#: Where and how a run runs, which changes nothing of what it computes, and how long.
OF_THE_MACHINE = frozenset(
    [
        "gpu_id",
        "use_gpu",
        "device",
        "worker",
        "state",
        "data_path",
        "data_cache",
        "checkpoint_dir",
        "show_progress",
        "config_file",
        "config_files",
        "log_wandb",
        "wandb_project",
        "save_dataset",
        "dataset_save_path",
        "save_dataloaders",
        "dataloaders_save_path",
        "nproc",
        "world_size",
        "offset",
        "group_offset",
        "ip",
        "port",
        "local_rank",
        "process_timeout",
        "checkpoint_steps",
        "single_spec",
        "loss_decimal_place",
        "eval_batch_size",
        "eval_scores_mib",
        "pre_model_path",
        "MODEL_TYPE",  # both follow from the model and its loss
        "MODEL_INPUT_TYPE",
        "epochs",
    ]
)
#: What only training reads.
_OF_TRAINING = frozenset(
    [
        "train_batch_size",
        "learner",
        "learning_rate",
        "train_neg_sample_args",
        "eval_step",
        "stopping_step",
        "clip_grad_norm",
        "weight_decay",
        "shuffle",
        "enable_amp",
        "enable_scaler",
        "reproducibility",
        "fast_dropout",
        "weighting",
        "preset",
        "history_mask_below",  # the mask itself lies in the checkpoint
        "pretrain_epochs",
        "train_stage",
        "load_col",
    ]
)
#: What is measured, which another run may do otherwise.
_OF_EVALUATION = frozenset(
    [
        "metrics",
        "topk",
        "valid_metric",
        "valid_metric_bigger",
        "value_metrics",
        "value_negatives",
        "clean_eval",
        "exclude_seen",
        "revised_validation",
        "revised_validation_drop",
        "metric_decimal_place",
        "eval_type",
    ]
)
_MODE = "eval_args mode"


def refuse_other_training(path: str, stored: Mapping[str, Any], config: Any, model: Any) -> None:
    """Refuse to go on with a training by settings that are not its own.

    Free are where and how it runs, ``epochs``, the epochs of a model's stages, and keys of other
    strategies.

    Args:
        path: The checkpoint, for the message.
        stored: The settings that it was trained with.
        config: This run's config.
        model: This run's bare model.

    Raises:
        UsageError: A setting differs; names it and both values.
    """
    own = {item.key for item in strategy_keys(weighting_of(config))}
    free = OF_THE_MACHINE | (_keys_of_strategies() - own)
    declared = declared_by(type(model))
    if declared is not None:
        free |= {item.key for item in declared_keys(declared) if "epochs" in item.key}
    _refuse(path, (each for each in _differences(stored, config) if _root(each) not in free))


def refuse_other_evaluation(path: str, stored: Mapping[str, Any], config: Any) -> list[str]:
    """Refuse to evaluate a checkpoint on data, or by a model, that are not those of its training.

    Args:
        path: The checkpoint, for the message.
        stored: The settings that it was trained with.
        config: This run's config.

    Returns:
        What of the evaluation is this run's and was another while training, a line each.

    Raises:
        UsageError: A setting differs; names it and both values.
    """
    free = OF_THE_MACHINE | _OF_TRAINING | _keys_of_strategies()
    if not _deals_by_seed(config["eval_args"]):
        free |= {"seed"}
    found = [each for each in _differences(stored, config) if _root(each) not in free]
    said = [each for each in found if _root(each) in _OF_EVALUATION or each[0].startswith(_MODE)]
    _refuse(path, (each for each in found if each not in said))
    return [f"evaluated by {key}={now}; {path} was trained with {then}" for key, then, now in said]


def compared_settings(config: Any) -> str:
    """Return the settings that several processes of a training must have in common, as a text."""
    plain = {key: value for key, value in plain_config(config).items() if key not in OF_THE_MACHINE}
    return json.dumps(plain, sort_keys=True)


def _refuse(path: str, differences: Iterator[Difference]) -> None:
    for key, then, now in differences:
        raise UsageError(
            f"checkpoint {path} was trained with {key}={then}, this run has {key}={now}"
        )


def _differences(stored: Mapping[str, Any], config: Any) -> list[Difference]:
    """Return what differs, by key; of a mapping, by its keys."""
    return list(_compared("", stored, plain_config(config)))


def _compared(prefix: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for key in sorted({*then, *now}):
        one, other = then.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _compared(f"{prefix}{key} ", one, other)
        elif one != other:
            yield f"{prefix}{key}", one, other


def _root(difference: Difference) -> str:
    return difference[0].split(" ")[0]


@cache
def _keys_of_strategies() -> frozenset[str]:
    return frozenset(item.key for keys in own_keys().values() for item in keys)


def _deals_by_seed(eval_args: Mapping[str, Any]) -> bool:
    return eval_args["order"] == "RO" or "US" in eval_args["split"]
