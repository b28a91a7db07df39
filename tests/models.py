"""Any RecBole model on a tiny generated dataset."""

from __future__ import annotations

import functools
import importlib
import inspect
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import recbole
import torch
import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import InputType, ModelType

from recbole_atjt.model.pointwise import pointwise

ROWS = 24
#: Sizes that make every model small; a key that a model does not read does nothing.
SMALL = {
    "embedding_size": 8,
    "kg_embedding_size": 8,
    "hidden_size": 8,
    "inner_size": 16,
    "n_heads": 2,
    "mlp_hidden_size": [8, 8],
    "cin_layer_size": [4, 4],
    "attention_size": 4,
    "prototype_size": 6,
    "t_cin": [4, 4],
    "cnn_channels": [1, 4, 4, 4],
    "cnn_kernels": [2, 2, 2],
    "cnn_strides": [2, 2, 2],
    "reranker_CAN_NUM": "5",
}
_OFFERED = ("CE", "BPR", "NLL")


@dataclass
class Case:
    """A model, the batch to try it on, and what made them.

    Args:
        name: For messages: model and loss type or mode.
        factor: Coefficient of the main loss in the whole one.
    """

    name: str
    model: Any
    batch: Interaction
    config: Config
    dataset: Any
    factor: float = 1.0


def models_of(room: str) -> list[str]:
    """Return the names of RecBole's models in one package, such as ``sequential_recommender``."""
    package = importlib.import_module(f"recbole.model.{room}")
    return sorted(
        name
        for name, value in vars(package).items()
        if inspect.isclass(value)
        and issubclass(value, AbstractRecommender)
        and value.__module__.startswith(package.__name__)
        and value.type != ModelType.DECISIONTREE
    )


SEQUENTIAL = models_of("sequential_recommender")
CONTEXT = models_of("context_aware_recommender")


@functools.cache
def data_path() -> str:
    """Write the tiny dataset once; return the folder that holds it."""
    keeper = tempfile.TemporaryDirectory(prefix="recbole_atjt_")
    _KEEPERS.append(keeper)
    folder = Path(keeper.name) / "tiny"
    folder.mkdir()
    rng = np.random.default_rng(7)
    users, items = range(1, 31), range(1, 41)
    events = [
        (user, item, rng.integers(1, 6), time)
        for user in users
        for time, item in enumerate(rng.choice(items, rng.integers(6, 12), replace=False))
    ]
    genres = ["comedy", "drama", "war", "noir", "sport"]
    _write(
        folder / "tiny.inter",
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        events,
    )
    _write(
        folder / "tiny.user",
        ["user_id:token", "age:token", "gender:token", "occupation:token"],
        [(user, 20 + user % 5, "FM"[user % 2], user % 3) for user in users],
    )
    _write(
        folder / "tiny.item",
        ["item_id:token", "release_year:token", "class:token_seq"],
        [
            (i, 1990 + i % 7, " ".join(rng.choice(genres, rng.integers(1, 3), replace=False)))
            for i in items
        ],
    )
    _write(
        folder / "tiny.kg",
        ["head_id:token", "relation_id:token", "tail_id:token"],
        [(f"e{i}", f"r{i % 3}", f"e{i % 40 + 1}") for i in items],
    )
    _write(
        folder / "tiny.link", ["item_id:token", "entity_id:token"], [(i, f"e{i}") for i in items]
    )
    for suffix, ids in (("ent", [f"e{i}" for i in items]), ("rel", ["r0", "r1", "r2"])):
        vectors = [(i, " ".join(f"{x:.3f}" for x in rng.normal(size=8))) for i in ids]
        _write(
            folder / f"tiny.{suffix}", [f"{suffix}_id:token", f"{suffix}_emb:float_seq"], vectors
        )
    return keeper.name


_KEEPERS: list[Any] = []


def _write(path: Path, header: list[str], rows: Any) -> None:
    lines = ["\t".join(header), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_config(model: Any, **settings: Any) -> Config:
    """Return a config of ``model`` (a name or a class) on the tiny data."""
    kind = _class_of(model).type
    load = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "item": ["item_id", "release_year", "class"],
        "user": ["user_id", "age", "gender", "occupation"],
    }
    name = model if isinstance(model, str) else model.__name__
    given: dict[str, Any] = {
        "data_path": data_path(),
        "load_col": load,
        "MAX_ITEM_LIST_LENGTH": 10,
        "train_batch_size": ROWS,
        "show_progress": False,
        "gpu_id": "",
        "use_gpu": False,
        **SMALL,
    }
    if kind == ModelType.CONTEXT:
        given["threshold"] = {"rating": 3}
    if name in ("GRU4RecKG", "KSR"):
        given["load_col"] = {
            **load,
            "kg": ["head_id", "relation_id", "tail_id"],
            "link": ["item_id", "entity_id"],
            "ent": ["ent_id", "ent_emb"],
            "rel": ["rel_id", "rel_emb"],
        }
        given["additional_feat_suffix"] = ["ent", "rel"]
        given["alias_of_entity_id"], given["alias_of_relation_id"] = ["ent_id"], ["rel_id"]
        given["eval_args"] = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
        given["preload_weight"] = {"ent_id": "ent_emb", "rel_id": "rel_emb"}
    given.update(settings)
    if given.get("loss_type", _default_loss_type(name)) in ("CE", "NLL"):
        given.setdefault("train_neg_sample_args", None)
    with mock.patch.object(sys, "argv", ["test"]):
        return Config(model=model, dataset="tiny", config_dict=given)


def _default_loss_type(name: str) -> str | None:
    path = Path(recbole.__file__).parent / "properties" / "model" / f"{name}.yaml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    found: str | None = (loaded or {}).get("loss_type")
    return found


def _class_of(model: Any) -> Any:
    if not isinstance(model, str):
        return model
    rooms = ("sequential", "context_aware", "general")
    packages = [importlib.import_module(f"recbole.model.{room}_recommender") for room in rooms]
    return next(getattr(package, model) for package in packages if hasattr(package, model))


def make_loader(config: Config) -> tuple[Any, Any]:
    """Return the training loader and its dataset: the one place where tests build data."""
    loader, _, _ = data_preparation(config, create_dataset(config))
    return loader, loader.dataset if hasattr(loader, "dataset") else loader._dataset


def build(model: Any, mode: str = "", factor: float = 1.0, **settings: Any) -> Case:
    """Return ``model`` with seeded parameters and its first training batch.

    Args:
        model: A name or a class.
        mode: For messages.
        factor: See :class:`Case`.
        settings: Config keys.
    """
    _seed()
    config = make_config(model, **settings)
    loader, dataset = make_loader(config)
    batch = next(iter(loader))
    batch = next(iter(loader)) if len(batch) < 2 else batch
    _seed()
    built = config.model_class(config, dataset).train()
    return Case(f"{config['model']} {mode}".strip(), built, batch, config, dataset, factor)


def _seed() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def every_loss_type(name: str) -> Iterator[Case]:
    """Build ``name`` in each loss type that it offers, and with BCE where it is sequential."""
    yield from _own_loss_types(name)
    if name in SEQUENTIAL and name not in ("GRU4RecCPR", "SASRecCPR", "DIN", "DIEN"):
        yield bce(name)


@functools.cache
def bce(name: str) -> Case:
    """Build a sequential model for pointwise training."""
    settings = _finetuning() if name == "S3Rec" else {}
    return build(pointwise(_class_of(name)), "BCE", loss_type="BCE", **settings)


@functools.cache
def _own_loss_types(name: str) -> tuple[Case, ...]:
    model_class = _class_of(name)
    reads_labels = getattr(model_class, "input_type", None) == InputType.POINTWISE
    if _default_loss_type(name) is None or name not in SEQUENTIAL or reads_labels:
        return (build(name),)
    settings = _finetuning() if name == "S3Rec" else {}
    found = []
    for loss_type in _OFFERED:
        try:
            found.append(build(name, loss_type, loss_type=loss_type, **settings))
        except (NotImplementedError, AssertionError, SystemExit):
            continue  # not offered by this model
    assert found, f"{name} builds with none of {_OFFERED}"
    return tuple(found)


def _finetuning() -> dict[str, Any]:
    """Return the settings of S3Rec's second stage, with a file of its first."""
    path = Path(data_path()) / "s3rec.pth"
    if not path.is_file():
        torch.save({"state_dict": build("S3Rec").model.state_dict()}, path)
    return {"train_stage": "finetune", "pre_model_path": str(path)}


@functools.cache
def mode(name: str) -> Case:
    """Build a model in a mode that is not its default; see ``MODES``."""
    return MODES[name](name)


def _distillation(name: str) -> Case:
    """KD_DAGFM's second stage: its loss is 0.1 times the weighted one, plus the teacher's."""
    path = Path(data_path()) / "kd_dagfm.pth"
    torch.save({"state_dict": build("KD_DAGFM").model.state_dict()}, path)
    settings = {"phase": "distillation", "warm_up": str(path), "beta": 1.0}
    return build("KD_DAGFM", name, factor=0.1, **settings)


def _contrast(name: str) -> Case:
    kind = name.split()[-1]
    more = {"fredom": True, "fredom_type": "us_x"} if kind == "us_x" else {}
    return build("FEARec", name, contrast=kind, tau=1.0, sim="dot", **more)


MODES: dict[str, Callable[[str], Case]] = {
    "S3Rec pretraining": lambda name: build("S3Rec", name),
    "RepeatNet joint": lambda name: build("RepeatNet", name, joint_train=True),
    "DIEN auxiliary": lambda name: build("DIEN", name, alpha=3.0),
    "KD_DAGFM distillation": _distillation,
    "FEARec us": _contrast,
    "FEARec us_x": _contrast,
}
