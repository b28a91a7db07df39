"""Optuna's study of a task, kept in a file that a killed study goes on from."""

from __future__ import annotations

import fcntl
import inspect
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from recbole_atjt.errors import AtjtError, TrainingError, UsageError, in_one_line
from recbole_atjt.tuning.specification import Task
from recbole_atjt.tuning.trial import measure

STUDY = "study.db"
"""File of a study in its folder."""
_LOCK = "study.lock"
HEARTBEAT, GRACE = 5, 30
"""Seconds between signs of life of a process, and after which a trial without any is made again."""
#: Trials that must have ended before one is compared with the others, and epochs of each.
_STARTUP_TRIALS, _STARTUP_EPOCHS = 5, 2
#: Trials of random settings, from which the sampler learns first.
_RANDOM_TRIALS = 8
#: Seconds between two looks at trials that other processes make.
_WAIT = 0.5
#: Failures in a row, with no trial that succeeded, after which a study ends.
_HOPELESS = 5


def require_optuna() -> None:
    """Ask for Optuna, before anything is trained.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError("tune needs Optuna: pip install 'recbole_atjt[tune]'") from error


def open_study(task: Task, folder: Path) -> Any:
    """Open the study of a folder, or begin it with the start as its first trial.

    Args:
        task: What is studied.
        folder: Where its file lies; it is made if need be.

    Raises:
        UsageError: The folder has a study of another task, or can't be written to.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage is supposed")  # trials have it here
    path = folder / STUDY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name="study",
            storage=_storage(path),
            direction="maximize" if task.base["valid_metric_bigger"] else "minimize",
            load_if_exists=True,
        )
    except OSError as error:
        raise UsageError(f"{folder} can't be written to: {error.strerror}") from error
    except Exception as error:  # SQLAlchemy's own, of many kinds
        said = in_one_line(error)
        raise UsageError(f"{path} is no study that can be gone on with: {said}") from error
    described = _description(task)
    known = study.user_attrs.get("task")
    if known is not None and known != described:
        changed = [key for key in described if described[key] != known.get(key)]
        raise UsageError(
            f"{folder} has a study of another task ({', '.join(changed)} differ): give another "
            "output_dir"
        )
    if known is None:
        study.set_user_attr("task", described)
        start = task.start()
        if all(task.space[key].holds(value) for key, value in start.items()):
            queued = {key: task.space[key].to_study(value) for key, value in start.items()}
            study.enqueue_trial(queued, user_attrs={"start": True}, skip_if_exists=True)
    # Each process and each call draws its own numbers.
    seed = (task.seeds[0] + 7919 * len(study.get_trials(deepcopy=False))) % 2**32
    study.sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=_RANDOM_TRIALS, constant_liar=True
    )
    study.pruner = (
        optuna.pruners.MedianPruner(_STARTUP_TRIALS, _STARTUP_EPOCHS)
        if task.prune
        else optuna.pruners.NopPruner()
    )
    return study


def go_on(study: Any, task: Task, folder: Path, report: Callable[[Any, Any], None]) -> None:
    """Make trials until the study has as many as the task wants.

    Args:
        study: From :func:`open_study`; other processes may work on it, too.
        task: What is studied.
        folder: The study's.
        report: Called with the study and each trial that ended.

    Raises:
        UsageError, TrainingError: Of the last trial, where none succeeds.
    """
    errors: list[AtjtError] = []
    while len(made(study)) < task.trials:
        trial = _begin(study, task, folder)
        if trial is None:  # others make the last ones
            time.sleep(_WAIT)
            continue
        ended = _make(study, trial, task, folder, errors)
        if ended is not None:
            report(study, ended)
        if len(errors) >= _HOPELESS and not completed(study):
            break
    if errors and not completed(study):
        raise errors[-1]


def _begin(study: Any, task: Task, folder: Path) -> Any:
    """Return the next trial; None where all that are wanted are made or being made."""
    import optuna

    with _alone(folder):
        optuna.storages.fail_stale_trials(study)
        _fail_unbegun(study)
        if len(made(study)) + len(_running(study)) >= task.trials:
            return None
        trial = study.ask()
        # Optuna's thread gives its first sign of life later; who dies before is waited for forever.
        study._storage.record_heartbeat(trial._trial_id)
        return trial


def _make(study: Any, trial: Any, task: Task, folder: Path, errors: list[AtjtError]) -> Any:
    """Train a trial and return it as it ended; None where others have given it up meanwhile."""
    import optuna
    from optuna.storages._heartbeat import get_heartbeat_thread

    states = optuna.trial.TrialState

    def tell(state: Any, value: float | None = None, **about: Any) -> Any:
        with _alone(folder):
            if study._storage.get_trial(trial._trial_id).state.is_finished():
                return None
            for key, said in about.items():
                trial.set_user_attr(key, said)
            return study.tell(trial.number, value, state)

    def after_epoch(epoch: int, score: float) -> None:
        if not math.isfinite(score):
            raise TrainingError(f"its validation score is {score}")
        trial.report(score, epoch)
        if trial.should_prune():
            trial.set_user_attr("epochs", epoch + 1)
            raise optuna.TrialPruned

    try:
        with get_heartbeat_thread(trial._trial_id, study._storage):
            values = {key: each.suggest(trial, key) for key, each in task.space.items()}
            found = measure(task, values, after_epoch)
        return tell(states.COMPLETE, found.value, epochs=found.epochs)
    except AtjtError as error:
        ended = tell(states.FAIL, error=str(error))
        if ended is not None:
            errors.append(error)
        return ended
    except optuna.TrialPruned:
        return tell(states.PRUNED)
    except BaseException as error:
        # Optuna answers with a RuntimeError where a trial has ended that something is told of.
        if tell(states.FAIL) is None and isinstance(error, RuntimeError):
            return None
        raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from beginning and ending trials while the block runs.

    SQLite locks no rows: two processes could take one queued trial, or queue one twice.
    """
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(study: Any) -> list[Any]:
    """Return the trials that came to an end: trained, pruned, or failed by their settings.

    A trial whose process died is none of them; its settings are queued again.
    """
    trials = study.get_trials(deepcopy=False)
    return [
        t
        for t in trials
        if t.state.is_finished() and (t.state.name != "FAIL" or "error" in t.user_attrs)
    ]


def _fail_unbegun(study: Any) -> None:
    """Give up trials whose process died before it gave a sign of life or chose any settings."""
    import optuna

    for trial in _running(study):
        age = (datetime.now() - trial.datetime_start).total_seconds()
        if trial.params or age <= GRACE:
            continue
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        queued = trial.system_attrs.get("fixed_params")
        if queued:
            study.enqueue_trial(queued, user_attrs=trial.user_attrs)


def _running(study: Any) -> list[Any]:
    import optuna

    return list(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))


def completed(study: Any) -> list[Any]:
    """Return the trials that were trained to their end."""
    import optuna

    return list(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


def values_of(task: Task, trial: Any) -> dict[str, Any]:
    """Return the settings of a trial."""
    return {key: task.space[key].from_study(value) for key, value in trial.params.items()}


def importances(study: Any) -> dict[str, float]:
    """Return which share of the scores' variance each key explains; empty for too few trials.

    The estimate is Optuna's fANOVA (Hutter et al. 2014) over completed trials.
    """
    import optuna

    trials = completed(study)
    if len(trials) < 4 or len({trial.value for trial in trials}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(value) for key, value in found.items()}


def _storage(path: Path) -> Any:
    import optuna

    kind = optuna.storages.RDBStorage
    known = inspect.signature(kind.__init__).parameters
    name = "heartbeat_stale_trial_callback"  # before version 5, failed_trial_callback
    callback: dict[str, Any] = {name if name in known else "failed_trial_callback": _make_again}
    url = f"sqlite:///{path.resolve()}"
    waits = {"connect_args": {"timeout": 60}}
    return kind(url, waits, heartbeat_interval=HEARTBEAT, grace_period=GRACE, **callback)


def _make_again(study: Any, trial: Any) -> None:
    """Queue the settings of a trial whose process died."""
    study.enqueue_trial(trial.params, user_attrs={**trial.user_attrs, "again": trial.number})


def _description(task: Task) -> dict[str, Any]:
    """Return what makes trials comparable, as plain values."""
    common = {key: value for key, value in task.common.items() if key != "data_path"}
    space: Mapping[str, Any] = {key: repr(values) for key, values in task.space.items()}
    found = {"model": task.model, "dataset": task.dataset, "seeds": list(task.seeds)}
    return dict(json.loads(json.dumps({**found, "settings": common, "search": space}, default=str)))
