"""``tune``: better settings, by trials that validation judges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_atjt.commands.layout import terminal_width, wrapped
from recbole_atjt.errors import UsageError
from recbole_atjt.settings.arguments import Arguments, read_arguments
from recbole_atjt.settings.yaml_values import require_whole

KEYS = ("data_path", "output_dir", "trials", "jobs")
USAGE = """\
usage: recbole-atjt tune FILE.yaml [--data_path=DIR] [--output_dir=DIR]
                         [--trials=N] [--jobs=N]

Search for settings with Optuna. FILE.yaml names model, dataset, weighting and the keys to search,
or a search space that ships with the package. Validation alone judges. A trial that is below the
median of the others is given up early. What is found goes to best.yaml, a config file for train. A
study that was killed goes on when it is called again, and several calls share one. How to write a
file: docs/tuning.md.

  --data_path   folder of the datasets [dataset]
  --output_dir  folder of study.db and best.yaml [runs/tune-<name of FILE>]
  --trials      trials in all, in place of FILE's
  --jobs        processes that share the trials [1]
"""


def usage() -> str:
    """Return what ``tune --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Make the trials that are missing; print and write the best."""
    given = read_arguments("tune", arguments, KEYS, words=("FILE.yaml",))
    jobs = require_whole("jobs", given.parsed("jobs", 1))
    trials = given.parsed("trials")
    if trials is not None:
        require_whole("trials", trials)
    from recbole_atjt.report.folder import RUNS
    from recbole_atjt.tuning.outcome import line_of, summary, write_best
    from recbole_atjt.tuning.specification import read_task
    from recbole_atjt.tuning.study import completed, go_on, made, open_study, require_optuna

    require_optuna()
    path = Path(given.words[0])
    task = read_task(path, given.values.get("data_path"), trials)
    folder = Path(given.values.get("output_dir", Path(RUNS) / f"tune-{path.stem}"))
    study = open_study(task, folder)
    before = len(made(study))
    if before:
        print(f"going on after {before} trials of {folder}")
    width = terminal_width()

    def report(study: Any, trial: Any) -> None:
        print(wrapped(line_of(task, study, trial), width, "", "  "), flush=True)

    with _helpers(jobs - 1, given, folder):
        go_on(study, task, folder, report)
    if not completed(study):
        raise UsageError(
            f"no trial of {folder} was trained to its end: see its lines, or give more"
        )
    best = write_best(task, study, folder)
    for line in summary(task, study, best).splitlines():
        print(line if line.startswith("  ") or len(line) <= width else wrapped(line, width))
    print(f"\nsettings: {best}")
    return 0


@contextmanager
def _helpers(count: int, given: Arguments, folder: Path) -> Iterator[None]:
    """Let other processes make trials of the same study while the block runs."""
    values = {**given.values, "output_dir": str(folder), "jobs": "1"}
    options = [f"--{key}={value}" for key, value in values.items()]
    command = [sys.executable, "-m", "recbole_atjt", "tune", *given.words, *options]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
