"""``datasets``: which datasets there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_atjt.commands.layout import described, in_columns, terminal_width, wrapped
from recbole_atjt.settings.arguments import read_arguments

USAGE = """\
usage: recbole-atjt datasets [--data_path=DIR]

List the datasets in a folder with their columns, and those that RecBole can download.

  --data_path  folder of the datasets [dataset]
"""


def usage() -> str:
    """Return what ``datasets --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Print the list."""
    given = read_arguments("datasets", arguments, ("data_path",))
    from recbole_atjt.data.files import BUILT_IN, known_urls
    from recbole_atjt.errors import UsageError

    width = terminal_width()
    folder = Path(given.values.get("data_path", "dataset"))
    if "data_path" in given.values and not folder.is_dir():
        raise UsageError(f"data_path={folder} is no folder")
    found = _local(folder)
    print(f"in {folder}:")
    print(described(found, width) if found else "  none", end="\n\n")
    print("in RecBole itself:")
    print(described([_described(BUILT_IN, _folder_of(BUILT_IN, folder))], width), end="\n\n")
    others = sorted(set(known_urls()) - {BUILT_IN} - {name for name, _ in found})
    print(f"that RecBole downloads when they are named ({len(others)}):")
    print(in_columns(others, width), end="\n\n")
    print(wrapped("Your own clicks become one by recbole_atjt.datasets.from_frame.", width))
    return 0


def _local(folder: Path) -> list[tuple[str, str]]:
    from recbole_atjt.data.files import BUILT_IN, known_datasets

    names = sorted({*known_datasets(folder)} - {BUILT_IN}, key=str.lower)
    return [_described(name, _folder_of(name, folder)) for name in names]


def _folder_of(name: str, data_path: Path) -> Path:
    from recbole_atjt.data.files import dataset_folder

    return dataset_folder(name, data_path)


def _described(name: str, folder: Path) -> tuple[str, str]:
    """Return a dataset's name, and the columns and the size of its interactions."""
    files = [folder / f"{name}.inter"]
    if not files[0].is_file():
        files = sorted(folder.glob(f"{name}.*.inter"))
    size = sum(file.stat().st_size for file in files) / 1e6
    parts = "" if len(files) == 1 else f" in {len(files)} files"
    return name, f"{size:.1f} MB{parts}: {', '.join(_columns(files[0]))}"


def _columns(file: Path) -> list[str]:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return [column.split(":")[0] for column in opened.readline().strip().split("\t")]
