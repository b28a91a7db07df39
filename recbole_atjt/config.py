"""RecBole's Config without its traps, with this package's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import InputType, ModelType

from recbole_atjt.data.clean import read_intervals
from recbole_atjt.data.columns import choose_columns
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.evaluation.naming import (
    check_reward,
    check_valid_metric,
    divide_metrics,
    is_value_metric,
)
from recbole_atjt.evaluation.revised import dropped_share
from recbole_atjt.host.keys import recbole_keys
from recbole_atjt.host.ranges import check_fearec, check_values
from recbole_atjt.host.refusals import refusals_of_recbole
from recbole_atjt.model.outside import is_outside, keys_of_source
from recbole_atjt.model.pointwise import pointwise
from recbole_atjt.model.staged import refuse_staged
from recbole_atjt.model.table import find_model, model_keys
from recbole_atjt.noise.spec import plan_of
from recbole_atjt.parallel.group import local_rank, local_size, size, use_gpus
from recbole_atjt.parallel.launch import KEYS as LAUNCH_KEYS
from recbole_atjt.settings.declared import declared_by, read_settings
from recbole_atjt.settings.explained import declared_keys, package_keys
from recbole_atjt.settings.resources import config_file, properties_path
from recbole_atjt.settings.yaml_values import load_yaml, parse_value
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.mask_key import mask_below
from recbole_atjt.weighting.table import (
    check_settings,
    find_strategy,
    keys_of_others,
    reward_of,
)

_LOSS_TYPES = ("CE", "BPR", "BCE")
_TYPE_FILES = {ModelType.CONTEXT: "context", ModelType.SEQUENTIAL: "sequential"}


class DenoisingConfig(Config):
    """RecBole's ``Config`` that never evaluates a value as code and reads no ``sys.argv``.

    Defaults rise from RecBole's own files over this package's ``properties/`` (overall, type,
    model, dataset, weighting) to the caller's files and dictionary.

    Args:
        model: Name of a registered model, or a model class (also one from outside RecBole).
        dataset: Name of a dataset.
        config_file_list: YAML files, later ones win.
        config_dict: Wins over the files; strings in it are parsed as YAML.

    Raises:
        UsageError: Unknown model, key, metric or weighting, or an impossible value.
    """

    model_class: type[AbstractRecommender]

    def __init__(
        self,
        model: str | type[AbstractRecommender] | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        with refusals_of_recbole("settings"):
            super().__init__(model, dataset, config_file_list, dict(config_dict or {}))

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _init_device(self) -> None:
        """Choose this process's device; RecBole's own processes, by NCCL alone, are not used."""
        final = self.final_config_dict
        if "local_rank" in final:
            raise UsageError(f"local_rank={final['local_rank']} is a launcher's: give nproc")
        super()._init_device()
        if size() > 1 and final["device"].type == "cuda":
            _refuse_devices(final["gpu_id"], local_size())
            final["device"] = torch.device("cuda", local_rank())
            torch.cuda.set_device(final["device"])
            use_gpus()

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        """Keep RecBole's reading of numbers such as 1e-3, but build no Python objects."""
        resolvers = super()._build_yaml_loader().yaml_implicit_resolvers

        return type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {**resolvers}})

    def _load_config_files(self, file_list: Sequence[str] | None) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for name in file_list or ():
            merged.update(load_yaml(config_file(name), self.yaml_loader))
        return merged

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {key: parse_value(value, self.yaml_loader) for key, value in config_dict.items()}

    def _get_model_and_dataset(
        self, model: str | type[AbstractRecommender] | None, dataset: str | None
    ) -> tuple[str, type[AbstractRecommender], str]:
        model = model or self.external_config_dict.get("model")
        if model is None:
            raise UsageError("model is missing: give --model=NAME, such as --model=SASRec")
        if dataset is None and "dataset" not in self.external_config_dict:
            raise UsageError("dataset is missing: give --dataset=NAME, such as --dataset=ml-100k")
        model_class = model if isinstance(model, type) else find_model(model)
        _refuse_unknown_keys(self.external_config_dict, model_class)
        named = str(dataset or self.external_config_dict.get("dataset"))
        if Path(named).name != named:
            raise UsageError(f"dataset={named} is not a name: give its folder as data_path")
        found: tuple[str, type[AbstractRecommender], str]
        found = super()._get_model_and_dataset(model_class, dataset)
        return found[0], found[1], str(found[2])

    def _load_internal_config_dict(
        self, model: str, model_class: type[AbstractRecommender], dataset: str
    ) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        kind = _TYPE_FILES.get(model_class.type, "general")
        for name in ("overall", f"type/{kind}", f"model/{model}", f"dataset/{dataset}"):
            self._update_from_ours(name)
        for path in sorted((properties_path() / "weighting").glob("*.yaml")):
            self.internal_config_dict.update(load_yaml(path, self.yaml_loader))
        preset = self.external_config_dict.get("preset")
        if preset is not None:
            known = [path.stem for path in sorted((properties_path() / "presets").glob("*.yaml"))]
            if preset not in known:
                hint = nearest(str(preset), known)
                raise UsageError(f"preset={preset} is unknown{hint}: use {', '.join(known)}")
            self._update_from_ours(f"presets/{preset}")

    def _update_from_ours(self, name: str) -> None:
        path = properties_path() / f"{name}.yaml"
        if path.is_file():
            self.internal_config_dict.update(load_yaml(path, self.yaml_loader))

    def _set_default_parameters(self) -> None:
        final = self.final_config_dict
        if "weighting" in final and final["weighting"] is None:
            final["weighting"] = "none"
        check_settings(final)
        mask_below(final)
        plan_of(final)
        self._check_own_model(final)
        ours = {item.key for item in explained_keys()} - {item.key for item in package_keys()}
        ours |= {"weighting"} | _keys_of_others(self.external_config_dict)
        given = {k: v for k, v in self.external_config_dict.items() if k not in ours}
        check_values(given, self.internal_config_dict)
        self._revise_validation(final)
        self._choose_input(final)
        reward = reward_of(final)
        wanted = [reward[1]] if reward and is_value_metric(reward[1]) else []
        divide_metrics(final, wanted, "valid_metric" in self.external_config_dict)
        super()._set_default_parameters()
        self._require_negatives(final)
        check_valid_metric(final)
        if self.model == "FEARec":
            check_fearec(final)
        if reward:
            check_reward(final, final["weighting"], *reward)
        clean = read_intervals(final.get("clean_eval"))
        if "load_col" not in self.external_config_dict:
            choose_columns(final, self.dataset, clean)

    def _require_negatives(self, final: dict[str, Any]) -> None:
        pairwise = final.get("MODEL_INPUT_TYPE") == InputType.PAIRWISE
        if pairwise and not final["train_neg_sample_args"]:
            raise UsageError(
                f"train_neg_sample_args={final['train_neg_sample_args']}: model={self.model} "
                "compares items with sampled ones; give for example {distribution: uniform}"
            )

    def _check_own_model(self, final: dict[str, Any]) -> None:
        """Check the keys that a model declares, and that it goes with the weighting."""
        if find_strategy(final["weighting"]) is not None:
            refuse_staged(self.model_class, final["weighting"])
        declared = declared_by(self.model_class)
        if declared is not None:
            for key, value in read_settings(declared, final).own.items():
                final.setdefault(key, list(value) if isinstance(value, tuple) else value)

    def _choose_input(self, final: dict[str, Any]) -> None:
        """Settle negative sampling: none under CE, some under BCE (Eq. 1) and BPR."""
        if final["MODEL_TYPE"] != ModelType.SEQUENTIAL:
            return
        loss_type = final.get("loss_type")
        if loss_type == "BCE":
            self.model_class = pointwise(self.model_class)
        elif hasattr(self.model_class, "input_type"):
            return
        elif loss_type not in (None, *_LOSS_TYPES) and final.get("train_neg_sample_args"):
            hint = nearest(str(loss_type), _LOSS_TYPES)
            raise UsageError(
                f"loss_type={loss_type} is unknown{hint}: use one of {', '.join(_LOSS_TYPES)}"
            )
        elif loss_type == "CE" and not self.external_config_dict.get("train_neg_sample_args"):
            final["train_neg_sample_args"] = None

    def _revise_validation(self, final: dict[str, Any]) -> None:
        """Turn the revised validation on under ``erm_revised``, which is nothing else."""
        if final["weighting"] == "erm_revised":
            final["revised_validation"] = self.external_config_dict.get("revised_validation", True)
        dropped_share(final)


def _refuse_devices(gpu_id: str, processes: int) -> None:
    named = [name for name in gpu_id.split(",") if name.strip()]
    if len(named) < processes:
        raise UsageError(
            f"gpu_id={gpu_id} names {len(named)} for {processes} processes on this machine: give "
            "as many, such as gpu_id=0,1, or none: gpu_id=''"
        )


def _keys_of_others(given: Iterable[str]) -> set[str]:
    """Return which keys are of strategies from other packages; these are loaded only if need be."""
    own = {item.key for item in explained_keys()}
    rest = {key for key in given if key not in own and key not in recbole_keys()}
    return rest & keys_of_others() if rest else set()


def _refuse_unknown_keys(given: Mapping[str, Any], model_class: type) -> None:
    for key in ("config_file", "config_files"):
        if key in given:
            raise UsageError(
                f"key '{key}' is none of a run: name files by --config_files on the command line, "
                "or as config_file_list in Python"
            )
    for key in LAUNCH_KEYS:
        if key in given:
            raise UsageError(
                f"{key} is no setting of a run: give it to the command, or to recbole_atjt.run in "
                "config_dict"
            )
    ours = {item.key for item in explained_keys()} | {"model", "dataset"}
    unknown = [key for key in given if key not in ours]
    if not unknown:
        return
    known = ours | recbole_keys() | {item.key for item in model_keys()}
    declared = declared_by(model_class)
    if declared is not None:
        known |= {item.key for item in declared_keys(declared)}
    known |= keys_of_source(model_class)
    known |= keys_of_others() if set(unknown) - known else set()
    for key in unknown:
        if key not in known:
            hint = "--help lists ours"
            if is_outside(model_class.__module__):
                name = model_class.__name__
                hint += f", and {name} may declare its own: own_keys = {{NAME: DEFAULT}}"
            raise UsageError(f"key '{key}' is unknown{nearest(key, known)}; {hint}")
