"""RecBole's Config without its traps, with this package's defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import recbole
import yaml
from recbole.config import Config
from recbole.evaluator.register import metric_types
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import EvaluatorType, InputType, ModelType
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

from recbole_atjt.data.clean import read_intervals
from recbole_atjt.data.files import header_columns
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.evaluation import split_metrics
from recbole_atjt.models import find_model
from recbole_atjt.noise.spec import Plan
from recbole_atjt.pointwise import pointwise
from recbole_atjt.ranges import check_values
from recbole_atjt.refusals import in_one_line, refusals_of_recbole
from recbole_atjt.resources import properties_path
from recbole_atjt.revised_validation import dropped_share
from recbole_atjt.reward import WITHOUT_K, check_reward, smaller_is_better
from recbole_atjt.settings import (
    Settings,
    explained_keys,
    explained_model_keys,
    keys_of_others,
    read_settings,
)
from recbole_atjt.staged import refuse_staged
from recbole_atjt.weighting.table import find_strategy

_LOSS_TYPES = ("CE", "BPR", "BCE")
_TYPE_FILES = {ModelType.CONTEXT: "context", ModelType.SEQUENTIAL: "sequential"}
_KEY_READ = re.compile(r"""config\[\s*['"](\w+)['"]\s*\]|config\.(?:get\(['"])?(\w+)""")


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
        try:
            super()._init_device()
        except AssertionError as error:
            raise UsageError("gpu_id names fewer devices than nproc asks for") from error

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        """Keep RecBole's reading of numbers such as 1e-3, but build no Python objects."""
        resolvers = super()._build_yaml_loader().yaml_implicit_resolvers

        return type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {**resolvers}})

    def _load_config_files(self, file_list: Sequence[str] | None) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for name in file_list or ():
            merged.update(load_yaml(Path(name), self.yaml_loader))
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
        model_class = find_model(model) if isinstance(model, str) else model
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

    def _update_from_ours(self, name: str) -> None:
        path = properties_path() / f"{name}.yaml"
        if path.is_file():
            self.internal_config_dict.update(load_yaml(path, self.yaml_loader))

    def _set_default_parameters(self) -> None:
        final = self.final_config_dict
        if "weighting" in final and final["weighting"] is None:
            final["weighting"] = "none"
        read_settings(final)
        Plan.of(final)
        self._check_own_model(final)
        ours = {item.name for item in fields(Settings)}
        ours |= _keys_of_others(self.external_config_dict)
        given = {k: v for k, v in self.external_config_dict.items() if k not in ours}
        check_values(given, self.internal_config_dict)
        self._revise_validation(final)
        self._choose_input(final)
        self._divide_metrics(final)
        super()._set_default_parameters()
        if (
            final.get("MODEL_INPUT_TYPE") == InputType.PAIRWISE
            and not final["train_neg_sample_args"]
        ):
            raise UsageError(
                f"train_neg_sample_args={final['train_neg_sample_args']}: model={self.model} "
                "compares items with sampled ones; give for example {distribution: uniform}"
            )
        self._check_valid_metric(final)
        if _wants_reward(final):
            check_reward(final, final["weighting"], final["autodenoise_reward"])
        clean = read_intervals(final.get("clean_eval"))
        if "load_col" not in self.external_config_dict:
            if not self._knows_columns():
                final["load_col"] = self._columns_of_headers(final)
            _load_also(final["load_col"], clean)

    def _check_own_model(self, final: dict[str, Any]) -> None:
        """Check the keys of a model of ours, and that it goes with the weighting."""
        if find_strategy(final["weighting"]) is not None:
            refuse_staged(self.model_class, final["weighting"])
        check = getattr(self.model_class, "check_settings", None)
        if check is not None:
            check(final)

    def _columns_of_headers(self, final: dict[str, Any]) -> dict[str, list[str]] | None:
        """Return all columns of the files there are; None (everything) before a download."""
        found = header_columns(
            final["data_path"],
            self.dataset,
            benchmark_filename=final["benchmark_filename"],
            field_separator=final["field_separator"],
            encoding=final.get("encoding") or "utf-8",
        )
        return found or None

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

    def _divide_metrics(self, final: dict[str, Any]) -> None:
        """Move value metrics out of RecBole's sight where ranking metrics stand beside them."""
        ranking, value = split_metrics(_names(final["metrics"]))
        value += [name for name in _names(final.get("value_metrics")) if name not in value]
        value += _reward_to_add(final, value)
        if not ranking and not value:
            raise UsageError(f"metrics={final['metrics']} names no metric")
        named = [*ranking, *value]
        modes = final["eval_args"].get("mode", "full") if final["eval_args"] else "full"
        modes = modes.values() if isinstance(modes, dict) else [modes]
        if not ranking and "full" in modes:
            ranking = ["GAUC"]
        final["metrics"] = ranking or value
        final["value_metrics"] = value if ranking else []
        if "valid_metric" not in self.external_config_dict:
            final["valid_metric"] = _default_valid_metric(final, named)

    def _check_valid_metric(self, final: dict[str, Any]) -> None:
        name, _, k = str(final["valid_metric"]).partition("@")
        computed = [*final["metrics"], *final["value_metrics"]]
        if name.lower() not in {metric.lower() for metric in computed}:
            raise UsageError(
                f"valid_metric={final['valid_metric']} is not computed: choose one of "
                f"metrics={computed}"
            )
        if (name.lower() in WITHOUT_K) == bool(k):
            example = f"{name}@{final['topk'][0]}" if not k else name
            raise UsageError(f"valid_metric={final['valid_metric']} is not computed: use {example}")
        if k and k not in map(str, final["topk"]):
            raise UsageError(
                f"valid_metric={final['valid_metric']} is not computed: topk={final['topk']}"
            )

    def _knows_columns(self) -> bool:
        """Whether a property file of ours or RecBole's names the columns of this dataset."""
        ours = properties_path() / "dataset" / f"{self.dataset}.yaml"
        theirs = Path(recbole.__file__).parent / "properties" / "dataset" / f"{self.dataset}.yaml"
        return any(path.is_file() and "load_col" in path.read_text() for path in (ours, theirs))


def _load_also(load_col: dict[str, Any] | None, names: Iterable[str]) -> None:
    """Add columns of interactions to those that are loaded; None and ``*`` load all."""
    loaded = (load_col or {}).get("inter")
    if load_col and isinstance(loaded, list):
        load_col["inter"] = [*loaded, *(name for name in names if name not in loaded)]


def _wants_reward(final: Mapping[str, Any]) -> bool:
    strategy = find_strategy(final["weighting"])
    return strategy is not None and strategy.wants_reward


def _reward_to_add(final: Mapping[str, Any], value: list[str]) -> list[str]:
    """Return the reward where it is a value metric that nobody asked for: it costs little."""
    name = final["autodenoise_reward"]
    kind = metric_types.get(name.lower())
    known = name.lower() in map(str.lower, value)
    adds = kind == EvaluatorType.VALUE and not known and not smaller_is_better(name)
    return [name] if adds and _wants_reward(final) else []


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _default_valid_metric(final: Mapping[str, Any], named: Sequence[str]) -> str:
    """Return the default that selects the best epoch, or the metric next to it that is there."""
    name, _, k = str(final["valid_metric"]).partition("@")
    if name.lower() not in {metric.lower() for metric in named}:
        name = named[0]
    topk = final["topk"] if isinstance(final["topk"], list) else [final["topk"]]
    if name.lower() in WITHOUT_K:
        return name
    return f"{name}@{k if k and int(k) in topk else max(topk)}"


def load_yaml(path: Path, loader: Any = yaml.SafeLoader) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines; a file of comments only is empty.

    Raises:
        UsageError: The file is missing, is no YAML, or holds something else than keys.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except OSError as error:
        raise UsageError(f"config file {path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"config file {path} is not valid YAML: {in_one_line(error)}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError(f"config file {path} holds no 'key: value' lines")
    return loaded


def parse_value(value: Any, loader: Any = yaml.SafeLoader) -> Any:
    """Parse a string as a YAML value; it is never evaluated as code."""
    if not isinstance(value, str):
        return value
    try:
        parsed = yaml.load(value, Loader=loader)
    except yaml.YAMLError:
        return value
    return parsed if isinstance(parsed, (str, int, float, bool, list, dict, type(None))) else value


@cache
def _recbole_keys() -> frozenset[str]:
    """Return every key that RecBole's property files hold or its sources read."""
    root = Path(recbole.__file__).parent
    keys = {*dataset_arguments, *evaluation_arguments, *general_arguments, *training_arguments}
    for path in (root / "properties").rglob("*.yaml"):
        keys.update(re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in root.rglob("*.py"):
        keys.update(_keys_read(path.read_text(encoding="utf-8")))
    return frozenset(keys)


def _keys_read(source: str) -> Iterable[str]:
    return (first or second for first, second in _KEY_READ.findall(source))


def _keys_of_others(given: Iterable[str]) -> set[str]:
    """Return which keys are of strategies from other packages; these are loaded only if need be."""
    own = {item.key for item in explained_keys()}
    rest = {key for key in given if key not in own and key not in _recbole_keys()}
    return rest & keys_of_others() if rest else set()


def _refuse_unknown_keys(given: Mapping[str, Any], model_class: type) -> None:
    ours = {item.key for item in explained_keys()} | {"model", "dataset", "config_files"}
    unknown = [key for key in given if key not in ours]
    if not unknown:
        return
    known = ours | _recbole_keys() | {item.key for item in explained_model_keys()}
    for base in model_class.__mro__[:-1]:
        if base.__module__.split(".")[0] not in ("recbole", "torch", "builtins"):
            known |= set(_keys_read(inspect.getsource(base)))
    known |= keys_of_others() if set(unknown) - known else set()
    for key in unknown:
        if key not in known:
            raise UsageError(f"key '{key}' is unknown{nearest(key, known)}; --help lists ours")
