"""What a study came to: lines for the screen, and the config file of its best trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recbole_atjt.data.replacing import write_whole
from recbole_atjt.tuning.specification import Task
from recbole_atjt.tuning.study import completed, importances, made, values_of

BEST = "best.yaml"
"""Config file of the best trial in a study's folder."""


def line_of(task: Task, study: Any, trial: Any) -> str:
    """Return one line on a trial that ended, with the best so far."""
    metric = metric_of(task)
    head = f"trial {len(made(study))} of {task.trials}"
    epochs = trial.user_attrs.get("epochs")
    if trial.state.name == "FAIL":
        said = f"failed: {trial.user_attrs.get('error', 'it was ended')}"
    elif trial.state.name == "PRUNED":
        said = f"pruned after {epochs} epochs"
    else:
        said = f"{metric} {trial.value:.4f} after {epochs} epochs"
    if not completed(study):
        return f"{head}: {said}"
    best = study.best_trial
    better = "the best so far" if best.number == trial.number else f"best {best.value:.4f}"
    return f"{head}: {said}; {better}"


def metric_of(task: Task) -> str:
    """Return the metric that is searched for, in small letters."""
    return str(task.base["valid_metric"]).lower()


def start_of(study: Any) -> Any:
    """Return the completed trial of the settings that nobody searched for; None without one."""
    return next((trial for trial in completed(study) if trial.user_attrs.get("start")), None)


def summary(task: Task, study: Any, path: Path) -> str:
    """Return what a study came to, as lines: best, start, keys with their importance.

    Args:
        task: What was studied.
        study: The study; at least one trial was trained to its end.
        path: The config file of the best trial.
    """
    metric, best, start = metric_of(task), study.best_trial, start_of(study)
    trials = made(study)
    by_state = {name: sum(t.state.name == name for t in trials) for name in ("PRUNED", "FAIL")}
    lines = [
        f"best of {len(trials)} trials ({by_state['PRUNED']} pruned, {by_state['FAIL']} failed): "
        f"{metric} {best.value:.4f} on validation",
    ]
    if start is None:
        lines.append("the settings that nobody searched for lie outside the space: no start")
    else:
        change = f" ({best.value / start.value - 1:+.1%})" if start.value else ""
        lines.append(f"the start: {metric} {start.value:.4f}{change}")
    lines += ["", *_keys(task, study, best, start), ""]
    seeds = "" if len(task.seeds) > 1 else " with one seed"
    lines.append(
        f"{len(trials)} settings were compared on one validation set{seeds}: the best of many "
        "looks better there than it is. Compare on test once, with other seeds, beside the start:"
    )
    return "\n".join([*lines, f"  recbole-atjt --config_files={path} --seed=1,2,3"])


def _keys(task: Task, study: Any, best: Any, start: Any) -> list[str]:
    shares = importances(study)
    chosen = values_of(task, best)
    before = {} if start is None else values_of(task, start)
    header = ["key", "best", "start", "importance"]
    rows = [
        [key, _short(value), _short(before.get(key, "")), _share(shares.get(key))]
        for key, value in sorted(chosen.items(), key=lambda item: -shares.get(item[0], 0.0))
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [
        "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths)).rstrip()
        for row in [header, *rows]
    ]
    if not shares:
        lines.append("importance: too few trials were trained to their end")
    return lines


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_best(task: Task, study: Any, folder: Path) -> Path:
    """Write the settings of the best trial as a config file that ``train`` takes.

    Raises:
        UsageError: The folder can't be written to.
    """
    path, best = folder / BEST, study.best_trial
    settings = {"model": task.model, "dataset": task.dataset, **task.common}
    text = (
        f"# {metric_of(task)} {best.value:.6f} on validation, the best of {len(made(study))} "
        f"trials of {task.path.name}.\n"
    )
    values = {**settings, **values_of(task, best)}
    text += yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    write_whole(path, text)
    return path
