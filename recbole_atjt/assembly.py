"""The one assembly: from a config to loaders, model and trainer, ready to fit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.utils import init_seed
from torch import nn

from recbole_atjt.data.user_groups import deal_users
from recbole_atjt.dropout import speed_up_dropout
from recbole_atjt.host.plain import with_values
from recbole_atjt.host.refusals import refusals_of_recbole
from recbole_atjt.host.sizes import memory_in_one_line, refuse_topk
from recbole_atjt.host.traits import traits_of
from recbole_atjt.loading import create_dataset, prepare_loaders
from recbole_atjt.model.staged import StagedModel
from recbole_atjt.parallel.group import is_first
from recbole_atjt.settings.declared import read_settings
from recbole_atjt.training.pretraining import (
    build_pretrained,
    is_pretrained,
    needs_pretraining,
    pretrain,
)
from recbole_atjt.training.recommender import DenoisingRecommender
from recbole_atjt.training.sharing import refuse_alone
from recbole_atjt.training.staged import StagedTrainer
from recbole_atjt.training.trainer import DenoisingTrainer
from recbole_atjt.weighting.table import find_strategy, settings_of, weighting_of


@dataclass(frozen=True)
class Assembled:
    """What a run needs, in the order in which it was made.

    Attributes:
        config: The config that model and trainer were built with.
        train_data: Loader of the training set.
        valid_data: Loader of the validation set.
        test_data: Loader of the test set.
        model: The model; a :class:`DenoisingRecommender` where a strategy weighs.
        trainer: Trains ``model``.
    """

    config: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: nn.Module
    trainer: DenoisingTrainer


def assemble(config: Any, checkpoint_dir: str | Path | None = None) -> Assembled:
    """Make loaders, model and trainer as ``run`` does, seeds included.

    A model with a pretraining stage is pretrained here, unless ``checkpoint_dir`` holds one of the
    same settings. The given config is not changed.

    Args:
        config: A :class:`~recbole_atjt.config.DenoisingConfig`, or RecBole's own ``Config``.
        checkpoint_dir: Where checkpoints go; by default the config's.

    Returns:
        Everything that ``trainer.fit`` and ``trainer.evaluate`` take.

    Raises:
        UsageError: The data or the model can't be had with these settings.
    """
    refuse_alone(config)
    if not is_first():
        config = with_values(config, checkpoint_dir=tempfile.gettempdir(), log_wandb=False)
    elif checkpoint_dir is not None:
        config = with_values(config, checkpoint_dir=str(checkpoint_dir))
    init_seed(config["seed"], config["reproducibility"])
    with memory_in_one_line(config), refusals_of_recbole(f"dataset '{config['dataset']}'"):
        loaders = prepare_loaders(config, create_dataset(config))
    refuse_topk(config, loaders[0]._dataset.item_num - 1)
    _refuse_groups(config, loaders[0]._dataset)
    return assemble_on(config, loaders)


def assemble_on(
    config: Any,
    loaders: tuple[Any, Any, Any],
    choose: Callable[[nn.Module], type[DenoisingTrainer]] | None = None,
) -> Assembled:
    """Make model and trainer on loaders that are there, seeds included.

    Args:
        config: See :func:`assemble`.
        loaders: Loaders of training, validation and test.
        choose: Gives the class that trains a model; :func:`trainer_class` by default.

    Raises:
        UsageError: The model can't be had with these settings.
    """
    config = _pretrained(config, loaders[0])
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with memory_in_one_line(config), refusals_of_recbole(f"model={config['model']}"):
        model = build_model(config, loaders[0]._dataset)
        trainer = (choose or trainer_class)(model)(config, model)
    return Assembled(config, *loaders, model, trainer)


def build_model(config: Any, dataset: Any) -> nn.Module:
    """Build a config's model, wrapped where its strategy weighs.

    Args:
        config: A config; of a model with a pretraining stage, one that names the pretrained model.
        dataset: The training dataset.
    """
    build = build_pretrained if traits_of(config.model_class).is_pretrained else config.model_class
    model: nn.Module = build(config, dataset).to(config["device"])
    if config["fast_dropout"]:
        speed_up_dropout(model)
    if find_strategy(weighting_of(config)) is None:
        return model
    return DenoisingRecommender(model, config, dataset)


def _refuse_groups(config: Any, dataset: Any) -> None:
    """Refuse more groups than there are users, before a network is made for each."""
    strategy = find_strategy(weighting_of(config))
    if strategy is not None and strategy.groups_key:
        settings = read_settings(settings_of(strategy), config)
        users = dataset.inter_feat[dataset.uid_field]
        deal_users(users, getattr(settings, strategy.groups_key), 0, strategy.groups_key)


def trainer_class(model: nn.Module) -> type[DenoisingTrainer]:
    """Return the class that trains a model."""
    bare = getattr(model, "recommender", model)
    return StagedTrainer if isinstance(bare, StagedModel) else DenoisingTrainer


def _pretrained(config: Any, train_data: Any) -> Any:
    """Return a config of the second stage of a pretrained model; that of other models as it is."""
    if not traits_of(config.model_class).is_pretrained:
        return config
    if needs_pretraining(config):
        name = f"{config['model']}-{config['dataset']}-{config['seed']}-pretrain.safetensors"
        path = Path(config["checkpoint_dir"]) / name
        if not is_pretrained(config, path, train_data):
            init_seed(config["seed"], config["reproducibility"])
            with refusals_of_recbole(f"model={config['model']}"):
                pretrain(with_values(config, train_stage="pretrain"), train_data, path)
        config = with_values(config, pre_model_path=str(path))
    return with_values(config, train_stage="finetune")
