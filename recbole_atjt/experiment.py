"""From names and settings to trained, evaluated, written-down runs."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_atjt.assembly import Assembled, assemble
from recbole_atjt.checkpoint.settings import OF_THE_MACHINE, compared_settings
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.errors import AtjtError, UsageError
from recbole_atjt.host.plain import plain_config
from recbole_atjt.host.repairs.disk import figures_in
from recbole_atjt.host.screen import shows_progress
from recbole_atjt.host.sizes import memory_in_one_line
from recbole_atjt.memory import keep_freed_memory
from recbole_atjt.model.table import registered_models
from recbole_atjt.parallel.group import (
    TIMEOUT,
    ProcessLost,
    SaidElsewhere,
    alike,
    decided,
    is_first,
    joined,
    size,
    spoken,
    together,
)
from recbole_atjt.parallel.launch import Launch, read_launch, run_all
from recbole_atjt.report.calls import (
    CALLS,
    Planned,
    files_of,
    forget_calls,
    named_model,
    read_calls,
    texts_of,
    write_calls,
)
from recbole_atjt.report.folder import RUNS, in_use, new_folder, nothing_empty_after_failure
from recbole_atjt.report.log import end_log, log_nothing, start_log
from recbole_atjt.report.result import ExperimentResult, RunResult, earlier_runs, finite
from recbole_atjt.report.suspects import named_items
from recbole_atjt.report.weights import learned_weights, measure_weights
from recbole_atjt.training.trainer import DenoisingTrainer
from recbole_atjt.version import versions
from recbole_atjt.weighting.table import find_strategy

ASK_AGAIN = 5.0
"""Seconds after which SIGTERM is raised again, if a library has swallowed it."""

#: Items that are named as held most responsible for noise.
SUSPECTS = 10
CHECKPOINTS = "checkpoints"
"""Folder of the best models in a call's folder."""
LOGS = "logs"
"""Folder of the runs' logs in a call's folder."""
FIGURES = "tensorboard"
"""Folder of the runs' TensorBoard figures in a call's folder."""


class Interrupted(AtjtError):
    """Training was interrupted from the keyboard; says what was saved."""

    exit_code = 130


class Terminated(AtjtError):
    """The system asked the process to end (SIGTERM); says what was saved."""

    exit_code = 143


class Termination(KeyboardInterrupt):
    """What the command raises at SIGTERM, wherever it is."""


@contextmanager
def ending_at_sigterm() -> Iterator[None]:
    """Let SIGTERM end what runs in the block as Ctrl-C does; in the main thread, that is."""

    def end(*_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, ASK_AGAIN)  # where it is raised, it may be swallowed
        raise Termination

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGALRM)}
    try:
        yield
    finally:
        _ask_no_more()
        for each, handler in before.items():
            signal.signal(each, handler)


def _ask_no_more() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)


class Unwritten(AtjtError):
    """A run has finished and result.json can't be written; ``result`` has all runs."""

    def __init__(self, result: ExperimentResult, error: OSError) -> None:
        super().__init__(
            f"{result.path} can't be written: {error.strerror}; the best models are kept in "
            f"{result.output_dir / CHECKPOINTS}"
        )
        self.result, self.reason = result, str(error.strerror)


@dataclass(frozen=True)
class Cell:
    """One run to make: what varies between the runs of a call."""

    model: str | type[AbstractRecommender] | None
    dataset: str | None
    weighting: str | None
    seed: int | None

    def __str__(self) -> str:
        chosen = {
            "model": getattr(self.model, "__name__", self.model),
            "dataset": self.dataset,
            "weighting": self.weighting,
            "seed": self.seed,
        }
        return " ".join(f"{key}={value}" for key, value in chosen.items() if value is not None)


def run(
    model: Any = None,
    dataset: Any = None,
    weighting: Any = None,
    seed: Any = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    output_dir: str | Path | None = None,
    resume: str | Path | None = None,
) -> ExperimentResult:
    """Train and evaluate; a list for one of the first four means one run for each of its entries.

    Args:
        model: Name of a RecBole model, or a model class; by default the config's.
        dataset: Name of a dataset; by default the config's.
        weighting: Name of a strategy; by default what the config files or ``config_dict`` say.
        seed: Seed of a run; by default the config's.
        config_file_list: RecBole config files.
        config_dict: RecBole's and our keys.
        output_dir: Where result.json and the checkpoints go; by default a new folder,
            ``runs/<model>-<dataset>-<time>``. What it holds of earlier calls is kept.
        resume: An ``output_dir`` whose unfinished runs are gone on with, by the settings that they
            were begun with; beside it only ``config_dict`` may be given, with keys that change
            no result.

    Several processes train together where ``torchrun`` has started them, or where ``config_dict``
    holds RecBole's ``nproc`` (and ``world_size``, ``ip``, ``port``, ``group_offset``), which
    starts them here.

    Returns:
        All runs; result.json is written after each of them, by the first process.

    Raises:
        UsageError: Wrong usage, found before anything is trained where that is possible.
        TrainingError: Training could not go on.
        Interrupted: Ctrl-C.
        Unwritten: The disk refused result.json; the error has the results.
    """
    arguments: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "weighting": weighting,
        "seed": seed,
        "config_file_list": config_file_list,
        "config_dict": dict(config_dict or {}),
        "output_dir": output_dir,
        "resume": resume,
    }
    launch = read_launch(arguments["config_dict"])
    timeout = _patience(arguments["config_dict"])
    if launch is not None:
        return _run_by_several(launch, arguments)
    with joined(timeout):
        try:
            return _run(**arguments)
        except AtjtError as error:
            said = spoken(error)
            if said is error:
                raise
            raise said from error


def _patience(given: Mapping[str, Any]) -> float:
    """Return the seconds after which another process is held to be gone.

    Raises:
        UsageError: They are none.
    """
    value = given.get("process_timeout", TIMEOUT)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"process_timeout={value} is not a number") from None
    if not 1 <= seconds <= 1e6:
        raise UsageError(f"process_timeout={value} is out of range: it must be from 1 to 1000000")
    return seconds


def _run_by_several(launch: Launch, arguments: Mapping[str, Any]) -> ExperimentResult:
    found = run_all(launch, _run_as_one_of_several, arguments)
    runs, earlier = ([RunResult(**each) for each in found[name]] for name in ("runs", "earlier"))
    result = ExperimentResult(Path(found["output_dir"]), runs, earlier, found["order"])
    if found["lost"]:
        raise Unwritten(result, OSError(0, found["lost"]))
    return result


def _run_as_one_of_several(**arguments: Any) -> dict[str, Any]:
    """Make the runs in a process that was started for them; return the result as plain values."""
    lost = ""
    with ending_at_sigterm():
        try:
            result = run(**arguments)
        except Unwritten as error:
            result, lost = error.result, error.reason
    return {
        "output_dir": str(result.output_dir),
        "runs": [finite(asdict(each)) for each in result.runs],
        "earlier": [finite(asdict(each)) for each in result.earlier],
        "order": result.order,
        "lost": lost,
    }


def _run(
    model: Any,
    dataset: Any,
    weighting: Any,
    seed: Any,
    config_file_list: Sequence[str] | None,
    config_dict: Mapping[str, Any],
    output_dir: str | Path | None,
    resume: str | Path | None,
) -> ExperimentResult:
    """Make the runs in this process, which may be one of several."""
    keep_freed_memory()
    if resume is not None:
        others = (model, dataset, weighting, seed, config_file_list, output_dir)
        if any(other is not None for other in others):
            raise UsageError(
                f"resume={resume} takes model, dataset and files from there: leave out"
            )
        return _resume(Path(resume), config_dict)
    with together():
        cells = [
            Cell(*chosen)
            for chosen in product(
                *map(_listed, (model, dataset)), _listed(weighting), _listed(seed)
            )
        ]
        for number, cell in enumerate(cells):
            if cell.weighting is not None:
                find_strategy(str(cell.weighting))
            if cell in cells[:number]:
                raise UsageError(f"{cell} is listed twice")
        configs = [_build_config(cell, config_file_list, config_dict) for cell in cells]
        _refuse_alike(configs)
        planned = _planned(cells, configs, config_file_list, config_dict)
    folder = Path(decided(lambda: _folder_of(output_dir, configs)))
    with _held(folder, new=True):
        result = ExperimentResult(folder)

        def begin() -> None:
            result.earlier = earlier_runs(folder)
            _refuse_kept(configs, result)
            write_calls(folder, planned)

        decided(begin)
        try:
            _make_all(configs, result)
        except (UsageError, SaidElsewhere):
            if is_first():
                _forget_unbegun(configs, result)
            raise
    return result


def _folder_of(output_dir: str | Path | None, configs: Sequence[DenoisingConfig]) -> str:
    if output_dir is not None:
        return str(output_dir)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    named = Path(RUNS) / f"{configs[0]['model']}-{configs[0]['dataset']}-{stamp}"
    return str(new_folder(named))


@contextmanager
def _held(folder: Path, new: bool = False) -> Iterator[None]:
    """Hold a call's folder, in the process that writes there.

    Args:
        folder: It is made if need be.
        new: Whether what is empty after a failure is taken back.
    """
    with ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(in_use(folder))
            if new:
                stack.enter_context(nothing_empty_after_failure(folder))

        decided(hold)
        yield


def _forget_unbegun(configs: Sequence[DenoisingConfig], result: ExperimentResult) -> None:
    """Take back what a wrong call planned and never began, so that no resume stumbles on it."""
    kept = {run.name for run in result.everything}
    names = {name_of(config) for config in configs} - kept
    folder = result.output_dir
    begun = {name for name in names if checkpoint_of(folder, name).exists()}
    if names - begun:
        forget_calls(folder, names - begun)
    end_log()
    for name in names - begun:
        log_of(folder, name).unlink(missing_ok=True)
        shutil.rmtree(figures_of(folder, name), ignore_errors=True)


def _planned(
    cells: Sequence[Cell],
    configs: Sequence[DenoisingConfig],
    files: Sequence[str] | None,
    given: Mapping[str, Any] | None,
) -> list[Planned]:
    texts, known = texts_of(files), registered_models()
    return [
        Planned(
            name_of(config),
            named_model(cell.model, known),
            cell.dataset,
            texts,
            _values(cell, given),
        )
        for cell, config in zip(cells, configs)
    ]


def _resume(folder: Path, given: Mapping[str, Any]) -> ExperimentResult:
    for key in given:
        if key not in OF_THE_MACHINE - {"epochs"}:
            raise UsageError(f"resume={folder} goes on by its own settings: leave {key} out")
    planned = [Planned(**each) for each in decided(lambda: _asked(folder))]
    with _held(folder):
        names = [each.name for each in planned]
        result = ExperimentResult(folder, order=names)

        def finished() -> list[str]:
            result.earlier = earlier_runs(folder)
            return [each.name for each in result.earlier]

        done = decided(finished)
        with together():
            configs = [_config_of(each, given) for each in planned if each.name not in done]
        _make_all(configs, result, resumed=True)
    return result


def _asked(folder: Path) -> list[dict[str, Any]]:
    """Return what calls into a folder were asked to make, without how many processes were to."""
    found = [asdict(each) for each in read_calls(folder)]
    for each in found:
        read_launch(each["given"])
    return found


def _config_of(planned: Planned, given: Mapping[str, Any]) -> DenoisingConfig:
    if planned.model is None:
        raise UsageError(
            f"{planned.name} has a class of a script for a model: put it into a module"
        )
    with files_of(planned) as files:
        values = {**planned.given, **given}
        config = DenoisingConfig(planned.model or None, planned.dataset, files, values)
    if name_of(config) != planned.name:
        raise UsageError(f"{planned.name} is {name_of(config)} by the settings of {CALLS}")
    return config


def _refuse_alike(configs: Sequence[DenoisingConfig]) -> None:
    names = [name_of(config) for config in configs]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"two runs of this call are {name}: give classes names of their own")


def _refuse_kept(configs: Sequence[DenoisingConfig], result: ExperimentResult) -> None:
    """Refuse to write over what an earlier call left in the folder."""
    finished = {each.name for each in result.earlier}
    for name in map(name_of, configs):
        state = "has finished" if name in finished else "was begun"
        if name in finished or checkpoint_of(result.output_dir, name).exists():
            raise UsageError(
                f"output_dir={result.output_dir}: {name} {state} there: give another folder"
                + (f", or resume={result.output_dir} alone" if state == "was begun" else "")
            )


def _make_all(
    configs: Sequence[DenoisingConfig], result: ExperimentResult, resumed: bool = False
) -> None:
    lost: OSError | None = None
    for number, config in enumerate(configs, start=1):
        try:
            if is_first():
                start_log(log_of(result.output_dir, name_of(config)), config["state"])
            else:
                log_nothing()
        except OSError as error:
            raise UsageError(f"{error.filename} can't be written to: {error.strerror}") from error
        logging.getLogger().info(
            f"run {number} of {len(configs)}: {config['model']} on {config['dataset']}, "
            f"weighting {config['weighting']}, seed {config['seed']}"
        )
        current = _Run(config, result.output_dir, resumed)
        try:
            result.runs.append(current.make())
        except KeyboardInterrupt as error:
            if isinstance(error, Termination):
                _ask_no_more()
            kept = f"; {len(result.runs)} finished in {result.path}" if result.runs else ""
            said = f"{current.interruption()}{kept}; {_how_to_go_on(result)}"
            raise (Terminated if isinstance(error, Termination) else Interrupted)(said) from error
        except ProcessLost as error:
            where = f"{current.interruption()}; {_how_to_go_on(result)}"
            raise ProcessLost(error.text, where) from error
        except AtjtError as error:
            if lost is None:
                raise
            raise Unwritten(result, lost) from error
        if not is_first():
            continue
        try:
            result.write()
            lost = None
            current.last.unlink(missing_ok=True)
        except OSError as error:  # the next run may find more room
            lost = error
    if lost is not None:
        raise Unwritten(result, lost)


def _how_to_go_on(result: ExperimentResult) -> str:
    return f"go on with --resume={result.output_dir}"


def name_of(config: Any) -> str:
    """Return the name of a config's run, which tells the runs of a folder apart."""
    return "-".join(str(config[key]) for key in ("model", "dataset", "weighting", "seed"))


def checkpoint_of(folder: Path, name: str) -> Path:
    """Return where the best model of a run is kept."""
    return folder / CHECKPOINTS / f"{name}.safetensors"


def log_of(folder: Path, name: str) -> Path:
    """Return where the log of a run is kept."""
    return folder / LOGS / f"{name}.log"


def figures_of(folder: Path, name: str) -> Path:
    """Return the folder of a run's TensorBoard figures."""
    return folder / FIGURES / name


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _build_config(
    cell: Cell, files: Sequence[str] | None, given: Mapping[str, Any] | None
) -> DenoisingConfig:
    return DenoisingConfig(cell.model, cell.dataset, files, _values(cell, given))


def _values(cell: Cell, given: Mapping[str, Any] | None) -> dict[str, Any]:
    changes = {"weighting": cell.weighting, "seed": cell.seed}
    return {**(given or {}), **{k: v for k, v in changes.items() if v is not None}}


class _Run:
    """One run, from config to result."""

    def __init__(self, config: DenoisingConfig, folder: Path, resumed: bool = False) -> None:
        self.config = config
        self.name = name_of(config)
        self.path = checkpoint_of(folder, self.name)
        self.figures = figures_of(folder, self.name)
        self.last = self.path.with_name(f"{self.name}.last.safetensors")
        self.resumed = resumed
        self.trainer: DenoisingTrainer | None = None

    def make(self) -> RunResult:
        """Prepare, train, evaluate, describe."""
        start = perf_counter()
        if size() > 1:
            alike(compared_settings(self.config), "settings")
        with together(), figures_in(self.figures):
            ready = assemble(self.config, self.path.parent)
        self.trainer = trainer = ready.trainer
        trainer.saved_model_file = str(self.path)
        if not trainer.trains_in_stages:  # stages go on from their best epoch
            trainer.last_model_file = str(self.last)
        kept = self.path if trainer.trains_in_stages else self.last
        if self.resumed and decided(kept.exists):
            trainer.resume_checkpoint(kept, ready.train_data)
        prepared = perf_counter()
        show = shows_progress(self.config) and is_first()
        with memory_in_one_line(self.config):
            trainer.fit(ready.train_data, ready.valid_data, show_progress=show)
            valid = trainer.evaluate(ready.valid_data, show_progress=show)
            test = trainer.evaluate(ready.test_data, load_best_model=False, show_progress=show)
        done = perf_counter()
        epochs = trainer.epoch_seconds
        seconds = {
            "prepare": prepared - start,
            "train": sum(epochs),
            "epoch": sum(epochs) / max(1, len(epochs)),
            "evaluate": done - prepared - sum(epochs),
        }
        return _describe(ready, valid, test, seconds)

    def interruption(self) -> str:
        """Say where the run was interrupted and what was saved."""
        if self.trainer is None:
            return f"interrupted while {self.name} was prepared: no model was saved"
        where = f"interrupted in epoch {self.trainer.epoch} of {self.name}"
        return f"{where}: {self.trainer.what_is_saved()}"


def _describe(
    ready: Assembled,
    valid: Mapping[str, float] | None,
    test: Mapping[str, float] | None,
    seconds: dict[str, float],
) -> RunResult:
    trainer, config = ready.trainer, ready.config
    weighting = trainer.weighting
    weights = None
    if weighting is not None:
        weights = {
            **learned_weights(weighting.report),
            **(_recognition(trainer, config["seed"]) or {}),
            "epochs": trainer.history,
            **({"begun": trainer.begun} if trainer.begun else {}),
        }
        suspects = weighting.suspects(SUSPECTS)
        if suspects:
            weights["noise_items"] = named_items(ready.train_data._dataset, suspects)
    choices = getattr(trainer.bare_model, "gate_choices", None)
    return RunResult(
        model=config["model"],
        dataset=config["dataset"],
        weighting=config["weighting"],
        seed=config["seed"],
        valid=_as_numbers(valid),
        test=_as_numbers(test),
        best_epoch=trainer.best_epoch,
        epochs=len(trainer.epoch_seconds),
        seconds=seconds,
        parameters={
            "recommender": _count(trainer.model),
            "recogniser": 0 if weighting is None else _count(weighting),
        },
        weights=weights,
        warnings=trainer.warnings,
        checkpoint=trainer.saved_model_file,
        versions=versions(),
        config=plain_config(config),
        gate=None if choices is None else choices(),
        progress=trainer.progress,
    )


def _recognition(trainer: DenoisingTrainer, seed: int) -> dict[str, Any] | None:
    """Return how a strategy weighs original and replaced sequences; None without a recogniser."""
    found: dict[str, Any] | None = trainer.weighting.recognition()
    return measure_weights(trainer.weighting, trainer.loader, seed) if found is None else found


def _as_numbers(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Return metrics as Python numbers; GAUC comes rounded in single precision."""
    return {
        key: float(str(value)) if isinstance(value, np.float32) else float(value)
        for key, value in (metrics or {}).items()
    }


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())
