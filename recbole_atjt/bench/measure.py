"""One cell: trained, evaluated, and put into a line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole_atjt import experiment
from recbole_atjt.bench.cells import Cell
from recbole_atjt.errors import AtjtError, in_one_line
from recbole_atjt.report.log import no_log
from recbole_atjt.report.result import RunResult, finite
from recbole_atjt.version import versions

#: Figures of a run's weights that are not of a single epoch.
_LONG = ("epochs",)


def measure(cell: Cell) -> dict[str, Any]:
    """Train and evaluate a cell in a folder that is gone afterwards; return its line.

    A cell that fails has ``failed``, the error in one line, in place of figures.

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        with _scratch() as folder:
            result = experiment.run(
                cell.model, cell.dataset, cell.weighting, cell.seed, None, cell.keys, folder
            )
    except experiment.Interrupted:
        raise
    except Exception as error:  # whatever it is, the other cells go on
        text = str(error) if isinstance(error, AtjtError) else in_one_line(error)
        return {**cell.names, "failed": text, "versions": versions()}
    line: dict[str, Any] = finite({**cell.names, **_figures(result.runs[0])})
    return line


def _figures(run: RunResult) -> dict[str, Any]:
    weights = run.weights or {}
    shares = [epoch.get("noise_share") for epoch in weights.get("epochs", [])]
    return {
        "valid": run.valid,
        "test": run.test,
        "best_epoch": run.best_epoch,
        "epochs": run.epochs,
        "seconds": {name: round(seconds, 3) for name, seconds in run.seconds.items()},
        "noise_auroc": weights.get("noise_auroc"),
        "noise_share": shares[-1] if shares else None,
        "weights": {k: v for k, v in weights.items() if k not in _LONG} if weights else None,
        "warnings": run.warnings,
        "parameters": run.parameters,
        "versions": run.versions,
    }


@contextmanager
def _scratch() -> Iterator[str]:
    """Work in an empty folder, without RecBole's log: what it writes there is gone afterwards."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, no_log():
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
