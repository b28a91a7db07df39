"""A bench's cells, made by one process or several, with a bar that says how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from recbole_atjt.bench.cells import Cell
from recbole_atjt.bench.journal import Journal
from recbole_atjt.bench.work import WAIT, unfinished, work
from recbole_atjt.bench.worker import request
from recbole_atjt.errors import TrainingError
from recbole_atjt.experiment import Interrupted

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PACKAGE = Path(__file__).resolve().parents[2]


def make_cells(cells: Sequence[Cell], journal: Journal, jobs: int = 1, retried: int = 0) -> None:
    """Make what is unfinished.

    Args:
        cells: Cells in the order of their making.
        journal: Where finished cells go.
        jobs: Number of processes; more than one have one thread each.
        retried: Failures among that many first lines are made again.

    Raises:
        Interrupted: Ctrl-C; says how many cells are finished.
        TrainingError: All processes ended before their cells.
    """
    left = unfinished(cells, journal, retried)
    if not left:
        return
    done = len(cells) - len(left)
    with tqdm(total=len(cells), initial=done, unit="cell", disable=None, leave=False) as bar:

        def report() -> int:
            found = len(unfinished(cells, journal, retried))
            bar.update(len(cells) - found - bar.n)
            bar.refresh()
            return found

        try:
            if jobs == 1:
                work(cells, journal, retried, report)
                return
            with _started(min(jobs, len(left)), request(cells, journal.path, retried)) as workers:
                while report() and any(worker.poll() is None for worker in workers):
                    time.sleep(WAIT)
        except (KeyboardInterrupt, Interrupted) as error:
            found = len(cells) - len(unfinished(cells, journal, retried))
            raise Interrupted(
                f"interrupted: {found} of {len(cells)} cells are in {journal.path}; the same "
                "command goes on with the rest"
            ) from error
    missing = len(unfinished(cells, journal, retried))
    if missing:
        codes = ", ".join(str(worker.returncode) for worker in workers)
        raise TrainingError(
            f"all processes ended (exit codes {codes}) and left {missing} cells; the same command "
            "goes on with them"
        )


@contextmanager
def _started(jobs: int, asked: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start workers; end those that are still there on leaving."""
    search = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": search}
    command = [sys.executable, "-m", "recbole_atjt.bench.worker"]
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(jobs):
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)
            workers.append(worker)
        for worker in workers:
            assert worker.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already; its exit code will be told
                worker.stdin.write(asked)
                worker.stdin.flush()
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
            assert worker.stdin is not None
            with suppress(BrokenPipeError):
                worker.stdin.close()
