"""A bench's file: what is varied, what is common, what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recbole_atjt.bench.cells import PATHS, Cell
from recbole_atjt.bench.lists import (
    LISTS,
    Rule,
    is_left_out,
    listed,
    name_of,
    read_list,
    read_rules,
    restrict,
    unknown,
)
from recbole_atjt.bench.strategies import Strategy
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.yaml_values import load_yaml

PARTS = ("test", "valid")
_MAPPINGS = {"settings": "", "model_settings": "models", "dataset_settings": "datasets"}
KEYS = (*LISTS, *_MAPPINGS, "config_files", "skip", "show", "part", "reported")
#: Settings that a list of the file varies, and the list.
_VARIED = dict(zip(("model", "dataset", "plant", "weighting", "seed"), LISTS))
_NEITHER = "is not of the form {key: value}"


@dataclass(frozen=True)
class Bench:
    """What a file asks for.

    Args:
        path: The file.
        cells: Every run, in the order of their making: seed by seed.
        strategies: In the order of the table's rows.
        show: Metrics of the table in small letters; empty for what selects the epochs.
        part: ``test`` or ``valid``: whose metrics the table shows.
        reported: Figures of others in percent: model, label of a strategy, metric.
    """

    path: Path
    cells: tuple[Cell, ...]
    strategies: tuple[Strategy, ...]
    show: tuple[str, ...] = ()
    part: str = "test"
    reported: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)


class Problems(UsageError):
    """All that is wrong with a file, a line each."""

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        super().__init__("\n".join(f"{path}: {line}" for line in dict.fromkeys(lines)))


def read_bench(
    path: Path,
    only: Mapping[str, Sequence[Any]] | None = None,
    data_path: str | Path | None = None,
) -> Bench:
    """Read a file and make its cells; whether the settings can be run is not looked at.

    Args:
        path: The file.
        only: What lists are restricted to, by their names.
        data_path: Folder of the datasets; by default the file's, or ``dataset``.

    Raises:
        UsageError: What is wrong with the file, a line each.
    """
    given = load_yaml(path)
    problems = _problems_of_form(given)
    if problems:
        raise Problems(path, problems)
    lists = {key: read_list(given, key, problems) for key in LISTS}
    rules = read_rules(given.get("skip"), lists, problems)
    for key, name in _MAPPINGS.items():
        if name:
            problems += unknown(f"{key}: ", given.get(key) or {}, [*map(name_of, lists[name])])
    part = str(given.get("part", PARTS[0]))
    problems += unknown("part: ", [part], PARTS)
    lists = {key: restrict(key, lists[key], (only or {}).get(key), problems) for key in LISTS}
    common = {
        (model, dataset): _common(path, given, model, dataset, data_path, problems)
        for model, dataset in product(lists["models"], lists["datasets"])
    }
    reported = _reported(path, given.get("reported"), problems)
    cells = _cells(lists, rules, common)
    if not cells and not problems:
        problems.append("no cell is left: see skip and the lists")
    if problems:
        raise Problems(path, problems)
    show = tuple(str(name).lower() for name in listed(given.get("show")))
    return Bench(path, tuple(cells), tuple(lists["strategies"]), show, part, reported)


def _problems_of_form(given: Mapping[str, Any]) -> list[str]:
    found = [f"key '{key}' is unknown{nearest(str(key), KEYS)}" for key in given if key not in KEYS]
    found += [
        f"{key} is missing: write {key}: [...]"
        for key in LISTS
        if key != "plants" and not listed(given.get(key))
    ]
    for key, per_name in _MAPPINGS.items():
        values = given.get(key) or {}
        if not isinstance(values, Mapping):
            found.append(f"{key}: {values} {_NEITHER}")
        elif per_name:
            found += [
                f"{key}: {name}: {own} {_NEITHER}"
                for name, own in values.items()
                if not isinstance(own, Mapping)
            ]
    return found


def _common(
    path: Path,
    given: Mapping[str, Any],
    model: str,
    dataset: str,
    data_path: str | Path | None,
    problems: list[str],
) -> dict[str, Any]:
    """Return the settings of a model and dataset; config files give way to the bench's own."""
    found: dict[str, Any] = {}
    for name in listed(given.get("config_files")):
        try:
            found.update(load_yaml(path.parent / str(name).replace("{model}", model)))
        except UsageError as error:
            problems.append(str(error))
    found.update(given.get("settings") or {})
    found.update((given.get("model_settings") or {}).get(model, {}))
    found.update((given.get("dataset_settings") or {}).get(dataset, {}))
    problems += [
        f"settings: {key} is varied by the list {_VARIED[key]}: write it there"
        for key in found
        if key in _VARIED
    ]
    folder = data_path or found.get("data_path") or "dataset"
    return {**found, "data_path": str(Path(folder).resolve())}


def _cells(
    lists: Mapping[str, Sequence[Any]],
    rules: Sequence[Rule],
    common: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[Cell]:
    cells = []
    for seed, *others in product(lists["seeds"], *(lists[key] for key in LISTS[:-1])):
        model, dataset, plant, strategy = others
        if is_left_out(dict(zip(LISTS, (*others, seed))), rules):
            continue
        settings = {**common[model, dataset], **strategy.settings}
        paths = {key: settings.pop(key) for key in PATHS}
        label, weighting = strategy.label, strategy.weighting
        cells.append(Cell(model, dataset, plant, label, weighting, seed, settings, paths))
    return cells


def _reported(path: Path, name: Any, problems: list[str]) -> dict[str, Any]:
    """Read the figures of others."""
    if name is None:
        return {}
    try:
        found = load_yaml(path.parent / str(name))
    except UsageError as error:
        problems.append(str(error))
        return {}
    for strategies in found.values():
        for figures in strategies.values() if isinstance(strategies, dict) else [None]:
            numbers = figures.values() if isinstance(figures, dict) else [None]
            if not all(isinstance(number, (int, float)) for number in numbers):
                problems.append(f"reported: {name} is not {{model: {{strategy: {{metric: %}}}}}}")
                return {}
    return found
