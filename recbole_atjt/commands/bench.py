"""``bench``: models x datasets x planted noise x strategies x seeds, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_atjt.commands.layout import terminal_width
from recbole_atjt.errors import UsageError
from recbole_atjt.settings.arguments import Arguments, read_arguments
from recbole_atjt.settings.yaml_values import parse_value, require_switch, require_whole

LISTS = ("models", "datasets", "plants", "strategies", "seeds")
SWITCHES = ("retry_failed",)
KEYS = (*LISTS, *SWITCHES, "data_path", "output", "jobs", "markdown", "csv")
USAGE = """\
usage: recbole-atjt bench FILE.yaml [--data_path=DIR] [--output=FILE.jsonl]
                          [--jobs=N] [--seeds=1,2] [--models=...]
                          [--datasets=...] [--plants=...] [--strategies=...]
                          [--markdown=FILE] [--csv=FILE] [--retry_failed]

Train every cell of models x datasets x planted noise x strategies x seeds that FILE.yaml names, and
compare the strategies with plain training. Every finished cell is a line of the output file: a
bench that was killed goes on where it stopped, several calls share the cells, and a finished one
prints its table at once. How to write a file and read the table: docs/bench.md.

  --data_path     folder of the datasets [dataset]
  --output        file of the finished cells [runs/<name of FILE>.jsonl]
  --jobs          processes; more than one have one thread each [1]
  --LIST          seeds, models, datasets, plants or strategies: restrict FILE's list to some of
                  its entries; strategies by their labels; those with a comma as a list, such as
                  --strategies='["wat, strong", none]'
  --retry_failed  make cells again that failed in an earlier call
  --markdown      write the table as Markdown
  --csv           write all figures as CSV
"""


def usage() -> str:
    """Return what ``bench --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Make the cells that are missing, print the table; 1 where a cell failed."""
    given = read_arguments("bench", arguments, KEYS, words=("FILE.yaml",), switches=SWITCHES)
    from recbole_atjt.bench.checks import check_data, check_settings
    from recbole_atjt.bench.journal import Journal
    from recbole_atjt.bench.processes import make_cells
    from recbole_atjt.bench.specification import read_bench
    from recbole_atjt.bench.work import unfinished
    from recbole_atjt.report.folder import RUNS

    path = Path(given.words[0])
    jobs = require_whole("jobs", given.parsed("jobs", 1))
    retry = require_switch("retry_failed", given.parsed("retry_failed", False))
    bench = read_bench(path, _restrictions(given), given.values.get("data_path"))
    show = check_settings(bench)
    output = Path(given.values.get("output", Path(RUNS) / f"{path.stem}.jsonl"))
    with Journal(output.resolve()) as journal:
        retried = len(journal.lines()) if retry else 0
        check_data(bench, unfinished(bench.cells, journal, retried))
        make_cells(bench.cells, journal, jobs, retried)
        return _show(bench, journal.lines(), show, given, output)


def _show(
    bench: Any, lines: Sequence[dict[str, Any]], show: Sequence[str], given: Arguments, output: Path
) -> int:
    """Print the table, write it where asked for; return the exit code."""
    from recbole_atjt.bench.notes import notes_on_lines
    from recbole_atjt.bench.rows import bench_rows
    from recbole_atjt.bench.table import comma_separated, markdown, screen

    tables = [bench_rows(bench, lines, metric) for metric in show]
    for table in tables:
        print(screen(table, terminal_width()), end="\n\n")
    for note in notes_on_lines(bench, lines):
        print(note)
    print(f"cells: {output}")
    _write(given, "markdown", "\n".join(map(markdown, tables)))
    _write(given, "csv", comma_separated([row for table in tables for row in table]))
    return int(any(row.failed for table in tables for row in table))


def _write(given: Arguments, key: str, text: str) -> None:
    if key not in given.values:
        return
    path = Path(given.values[key])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{key}={path} can't be written to: {error.strerror}") from error


def _restrictions(given: Arguments) -> dict[str, list[Any]]:
    """Return the entries that lists are restricted to; those with commas stand in brackets."""
    found = {}
    for key in LISTS:
        if key in given.values:
            text = given.values[key]
            parsed = parse_value(text) if text.startswith("[") else None
            found[key] = parsed if isinstance(parsed, list) else text.split(",")
    return found
