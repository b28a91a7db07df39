"""Whether the cells of a bench can be run, found out before the first is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recbole_atjt.bench.cells import Cell
from recbole_atjt.bench.specification import Bench, Problems
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.data.files import ensure_files
from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.evaluation.naming import computed_metrics


def check_settings(bench: Bench) -> tuple[str, ...]:
    """Refuse settings that cannot be run and metrics that are not computed; return what is shown.

    Raises:
        UsageError: All that is wrong, a line each, with the first cell that has it.
    """
    problems: dict[str, str] = {}
    show = bench.show
    seen: dict[str, str] = {}
    for cell in _without_seeds(bench.cells):
        try:
            config = _config(cell)
        except UsageError as error:
            problems.setdefault(str(error), f"{cell}: {error}")
            continue
        show = show or (str(config["valid_metric"]).lower(),)
        known = [name.lower() for name in computed_metrics(config)]
        for name in show:
            if name not in known:
                hint = nearest(name, known)
                line = f"show: '{name}' is not computed{hint}: there are {', '.join(known)}"
                problems.setdefault(line, line)
        key = cell.identity
        if key in seen:
            line = f"strategies: '{cell.strategy}' is the same as '{seen[key]}'"
            problems.setdefault(line, line)
        seen[key] = cell.strategy
    if problems:
        raise Problems(bench.path, list(problems.values()))
    return show


def check_data(bench: Bench, cells: Sequence[Cell]) -> None:
    """Make sure that the datasets of cells are there; those that RecBole knows are downloaded.

    Raises:
        UsageError: A dataset is missing.
    """
    problems = []
    for cell in {(cell.dataset, str(cell.paths)): cell for cell in cells}.values():
        config = _config(cell)
        try:
            ensure_files(config["data_path"], config["dataset"], config["benchmark_filename"])
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise Problems(bench.path, problems)


def _config(cell: Cell) -> DenoisingConfig:
    keys = {**cell.keys, "weighting": cell.weighting, "seed": cell.seed}
    return DenoisingConfig(cell.model, cell.dataset, None, keys)


def _without_seeds(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Yield the cells of the first seed that a combination has."""
    seen = set()
    for cell in cells:
        combination = (cell.model, cell.dataset, cell.plant, cell.strategy)
        if combination not in seen:
            seen.add(combination)
            yield cell
