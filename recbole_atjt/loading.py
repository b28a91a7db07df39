"""From a configuration to a dataset, from a dataset to its three loaders."""

from __future__ import annotations

from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import recbole.data.dataset as recbole_datasets
from recbole.data.dataset import Dataset, KnowledgeBasedDataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.sampler import KGSampler
from recbole.utils import EvaluatorType, ModelType

from recbole_atjt.data.checked import checked
from recbole_atjt.data.clean import drop_false_positives, require_clean_columns
from recbole_atjt.data.dataset import (
    ContextWindowDataset,
    DIENWindowDataset,
    KGWindowDataset,
    SequentialWindowDataset,
    WindowedDataset,
)
from recbole_atjt.data.file_rows import with_file_rows
from recbole_atjt.data.files import ensure_files, require_columns
from recbole_atjt.data.known import remember_clicks
from recbole_atjt.data.ranking import ranking_loader
from recbole_atjt.data.splits import LEAVE_ONE_OUT, PARTS, check_split
from recbole_atjt.errors import UsageError
from recbole_atjt.host.sizes import refuse_sizes
from recbole_atjt.host.traits import traits_of
from recbole_atjt.noise.planting import plant

_CLASS_OF_READING: dict[str, type[Any]] = {
    "negatives": DIENWindowDataset,
    "graph": KGWindowDataset,
}
_CLASS_OF_TYPE = {
    ModelType.SEQUENTIAL: SequentialWindowDataset,
    ModelType.CONTEXT: ContextWindowDataset,
    ModelType.KNOWLEDGE: KnowledgeBasedDataset,
}
_FILTERS = (
    "val_interval",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "filter_inter_by_user_or_item",
)


def dataset_class(config: Any) -> type[Any]:
    """Choose the dataset class of a model, by the names of its classes or by its type."""
    reads = traits_of(config.model_class).reads
    if reads:
        return _CLASS_OF_READING[reads]
    by_type: type[Any] = _CLASS_OF_TYPE.get(config["MODEL_TYPE"], Dataset)
    if issubclass(by_type, WindowedDataset):
        return by_type
    chosen: type[Any] = getattr(recbole_datasets, f"{config['model']}Dataset", by_type)
    return chosen


def create_dataset(config: Any, numbered: bool = False) -> Any:
    """Load a dataset for a model: lazy windows where it reads histories, RecBole's own elsewhere.

    Unlike RecBole's function of this name it neither reads nor writes pickles.

    Args:
        config: RecBole's configuration.
        numbered: Whether interactions keep the number of their row in the file, as column
            ``FILE_ROW``.

    Raises:
        UsageError: A file, a column or all interactions are missing, or the split does not go
            with the model.
    """
    chosen = dataset_class(config)
    if numbered:
        chosen = with_file_rows(chosen)
    kind = check_split(config["eval_args"]["split"])
    _ensure_all_files(config, chosen)
    reads_history = getattr(config.model_class, "reads_history", True)
    if kind == "US" and not (issubclass(chosen, WindowedDataset) and reads_history):
        raise UsageError(
            f"eval_args split: US keeps whole users from training, which {config['model']} cannot "
            "serve since it reads no history; use RS or LS"
        )
    if kind == "US" and config["eval_type"] == EvaluatorType.RANKING:
        _require_rankings_of_windows(config)
    if not issubclass(chosen, WindowedDataset):
        require_columns(config, ["USER_ID_FIELD", "ITEM_ID_FIELD"])
        by_time = config["eval_args"]["order"] == "TO" or kind == "TS"
        if by_time and not config["benchmark_filename"]:
            require_columns(config, ["TIME_FIELD"], f"eval_args order TO and split {kind}: ")
    require_clean_columns(config)
    try:
        return checked(chosen)(config)
    except ValueError as error:
        if "feat is empty" not in str(error):
            raise
    settings = ", ".join(f"{key}={config[key]}" for key in _FILTERS if config[key] is not None)
    raise UsageError(
        f"nothing is left of dataset '{config['dataset']}' after filtering by {settings}"
    )


def _require_rankings_of_windows(config: Any) -> None:
    """Refuse to rank sampled items where a user has many windows: RecBole merges their rankings."""
    for part, mode in config["eval_args"]["mode"].items():
        if mode not in ("full", "labeled"):
            raise UsageError(
                f"eval_args mode: {mode} for {part} merges all windows of a user into one ranking, "
                "which split US has many of; use mode: full, or value metrics such as AUC alone"
            )


def _ensure_all_files(config: Any, chosen: type[Any]) -> None:
    """Check the files that a dataset class reads beside interactions, users and items, too."""
    folder, name, ready = config["data_path"], config["dataset"], config["benchmark_filename"]
    if ready is not None and len(ready) != len(PARTS):
        raise UsageError(
            f"benchmark_filename: {ready} must name three files, for {', '.join(PARTS)}"
        )
    ensure_files(folder, name, ready)
    graph = ["kg", "link"] if issubclass(chosen, KnowledgeBasedDataset) else []
    for suffix in [*graph, *(config["additional_feat_suffix"] or [])]:
        file = Path(folder) / f"{name}.{suffix}"
        if not file.is_file():
            raise UsageError(f"{config['model']} needs the file {file}, which does not exist")


def prepare_loaders(config: Any, dataset: Any) -> tuple[Any, Any, Any]:
    """Split a dataset and make its loaders, as RecBole's ``data_preparation`` without pickles.

    Validation and test lose the interactions that ``clean_eval`` excludes.

    Args:
        config: RecBole's configuration.
        dataset: What `create_dataset` returned, or a dataset of RecBole's own.

    Returns:
        Loaders for training, validation and test.

    Raises:
        UsageError: The split leaves a part empty that should not be.
    """
    return make_loaders(config, dataset, prepare_parts(config, dataset))


def prepare_parts(config: Any, dataset: Any) -> list[Any]:
    """Split a dataset, and plant noise into the training part where there is to be some.

    Raises:
        UsageError: The split leaves a part empty that should not be.
    """
    refuse_sizes(config, dataset.item_num - 1, _longest(config, dataset))
    parts = dataset.build()
    _refuse_empty_parts(config, parts)
    remember_clicks(parts)
    return plant(config, parts)


def make_loaders(config: Any, dataset: Any, parts: list[Any]) -> tuple[Any, Any, Any]:
    """Make the loaders of training, validation and test.

    Args:
        config: RecBole's configuration.
        dataset: The whole dataset.
        parts: What :func:`prepare_parts` returned, or some rows of each.

    Raises:
        UsageError: A user has clicked all items, so that none is left to sample.
    """
    clean = drop_false_positives(config, parts)
    sizes = ", ".join(f"{len(part)} for {name}" for name, part in zip(PARTS, clean))
    getLogger().info(f"{config['dataset']}: {sizes}")
    try:
        samplers = _create_samplers(config, dataset, parts, clean)
    except ValueError as error:  # a user without a negative item
        raise UsageError(f"dataset '{config['dataset']}': {error}") from None
    train: dict[str, Any] = {"shuffle": config["shuffle"]}
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        arguments = config["train_neg_sample_args"]
        graph = KGSampler(dataset, arguments["distribution"], arguments["alpha"])
        train = {"kg_sampler": graph, "shuffle": True}
    loaders = [get_dataloader(config, "train")(config, parts[0], samplers[0], **train)]
    for phase, part, sampler in zip(PARTS[1:], clean[1:], samplers[1:]):
        loader = ranking_loader(config, part, get_dataloader(config, phase))
        loaders.append(loader(config, part, sampler, shuffle=False))
    return loaders[0], loaders[1], loaders[2]


def _longest(config: Any, dataset: Any) -> int:
    """Count the interactions of the user who has most; what ready lists hold is not known."""
    if config["ITEM_ID_FIELD"] + (config["LIST_SUFFIX"] or "_list") in dataset.field2type:
        return int(config["MAX_ITEM_LIST_LENGTH"] or 0)
    users = np.asarray(dataset.inter_feat[dataset.uid_field])
    return int(np.bincount(users).max()) if len(users) else 0


def _create_samplers(config: Any, dataset: Any, parts: list[Any], clean: list[Any]) -> list[Any]:
    """Make RecBole's samplers; what a user met before a part is no candidate there, noise included.

    Interactions that ``clean_eval`` dropped are candidates in their own part, as any other item.
    """
    if clean == parts or config["repeatable"]:
        return list(create_samplers(config, dataset, parts))
    seen = (parts, [parts[0], clean[1], parts[2]], [parts[0], parts[1], clean[2]])
    return [create_samplers(config, dataset, known)[i] for i, known in enumerate(seen)]


def _refuse_empty_parts(config: Any, parts: list[Any]) -> None:
    """Raise if a part is empty that the split gives a share."""
    split = config["eval_args"]["split"]
    [(kind, value)] = split.items()
    without = {LEAVE_ONE_OUT[1]: "test", LEAVE_ONE_OUT[2]: "valid"}
    for position, (phase, part) in enumerate(zip(PARTS, parts)):
        asked = without.get(value) != phase if kind == "LS" else value[position] > 0
        if not len(part) and (asked or config["benchmark_filename"]):
            raise UsageError(
                f"eval_args split: {split} leaves nothing for {phase} of dataset "
                f"'{config['dataset']}'"
            )
