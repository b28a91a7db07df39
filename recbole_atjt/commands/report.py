"""``report``: the page of a training that is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_atjt.settings.arguments import read_arguments

USAGE = """\
usage: recbole-atjt report DIR [--output=FILE]

Write the result of a training as one HTML page that needs no network: comparison, curves, noise
and weights, items held responsible, settings, and what speaks against believing it. A training
with --report ends with it.

  DIR       the output_dir of a training, with its result.json
  --output  the page [DIR/report.html]

It is drawn by Matplotlib: pip install 'recbole_atjt[report]'.
"""


def usage() -> str:
    """Return what ``report --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Write the page of a folder's result."""
    given = read_arguments("report", arguments, ("output",), words=("DIR",))
    from recbole_atjt.report.page import PAGE, write_page
    from recbole_atjt.report.result import ExperimentResult

    (folder,) = given.words
    result = ExperimentResult.load(folder)
    path = write_page(result.runs, given.values.get("output", Path(folder) / PAGE))
    print(f"page: {path}")
    return 0
