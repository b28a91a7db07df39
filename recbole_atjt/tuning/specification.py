"""A study's file: what is the same in all trials, what is searched, how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_atjt.config import DenoisingConfig
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.resources import config_file
from recbole_atjt.settings.yaml_values import load_yaml, require_whole
from recbole_atjt.tuning.space import Space, read_space

KEYS = (
    "model",
    "dataset",
    "weighting",
    "seeds",
    "config_files",
    "settings",
    "search",
    "trials",
    "prune",
)
TRIALS = 30
"""Trials of a study whose file names no number."""


@dataclass(frozen=True)
class Task:
    """What a study is of.

    Args:
        path: The file.
        model: Name of the model.
        dataset: Name of the dataset.
        seeds: Seeds that each trial trains with; its value is the mean over them.
        common: Settings of all trials, ``weighting`` among them.
        space: What is searched.
        trials: How many trials are made in all.
        prune: Whether trials that are below the median of the others end early.
    """

    path: Path
    model: str
    dataset: str
    seeds: tuple[int, ...]
    common: Mapping[str, Any]
    space: Space
    trials: int = TRIALS
    prune: bool = True

    def config(self, values: Mapping[str, Any], seed: int) -> DenoisingConfig:
        """Return the config of a trial.

        Raises:
            UsageError: The settings do not go together.
        """
        given = {**self.common, **values, "seed": seed, "show_progress": False}
        return DenoisingConfig(self.model, self.dataset, config_dict=given)

    @cached_property
    def base(self) -> DenoisingConfig:
        """The config where nobody searches, which all trials share but for what is searched."""
        return self.config({}, self.seeds[0])

    def start(self) -> dict[str, Any]:
        """Return what the searched keys are where nobody searches."""
        return {key: self.base[key] for key in self.space}


def read_task(path: Path, data_path: str | None = None, trials: int | None = None) -> Task:
    """Read a study's file and try the ends of what it searches.

    Args:
        path: The file.
        data_path: Folder of the datasets; by default the file's, or ``dataset``.
        trials: In place of the file's.

    Raises:
        UsageError: What is wrong with the file.
    """
    try:
        return _read(path, data_path, trials)
    except UsageError as error:
        text = str(error)
        raise UsageError(text if str(path) in text else f"{path}: {text}") from error


def _read(path: Path, data_path: str | None, trials: int | None) -> Task:
    given = load_yaml(path)
    for key in given:
        if key not in KEYS:
            raise UsageError(f"key '{key}' is unknown{nearest(key, KEYS)}")
    for key in ("model", "dataset", "search"):
        if given.get(key) is None:
            raise UsageError(f"{key} is missing: write {key}: ...")
    settings = given.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise UsageError(f"settings: {settings} is not of the form {{key: value}}")
    common: dict[str, Any] = {}
    for name in _listed(given.get("config_files")):
        beside = path.parent / str(name)
        common.update(load_yaml(beside if beside.is_file() else config_file(str(name))))
    common.update(settings)
    for key in ("model", "dataset", "weighting", "seed"):
        if key in common:
            raise UsageError(f"settings: {key} stands beside settings: write it there")
    if "weighting" in given:
        common["weighting"] = given["weighting"]
    if data_path is not None:
        common["data_path"] = data_path
    wanted = given.get("trials", TRIALS) if trials is None else trials
    task = Task(
        path,
        str(given["model"]),
        str(given["dataset"]),
        _seeds(given.get("seeds", [2020])),
        common,
        read_space(given["search"]),
        require_whole("trials", wanted),
        _switch(given.get("prune", True)),
    )
    _try(task)
    return task


def _try(task: Task) -> None:
    """Refuse keys and values that no trial could have, before the first is made."""
    task.start()  # builds the config that all trials share
    for key, values in task.space.items():
        for value in values.ends():
            try:
                task.config({key: value}, task.seeds[0])
            except UsageError as error:
                raise UsageError(f"search: {error}") from error


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _seeds(value: Any) -> tuple[int, ...]:
    found = _listed(value)
    if not found or not all(isinstance(n, int) and not isinstance(n, bool) for n in found):
        raise UsageError(f"seeds: {value} is no list of whole numbers")
    return tuple(found)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"prune={value} is neither true nor false")
    return value
