"""Atomic files: where they lie, what their headers offer, how they get there."""

from __future__ import annotations

import shutil
import socket
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

import recbole
import yaml
from recbole.utils import FeatureType
from recbole.utils.url import download_url, extract_zip, rename_atomic_files

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.parallel.group import local_rank, together

DOWNLOAD_TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""


BUILT_IN = "ml-100k"
"""Dataset that RecBole reads from its own copy only."""


def dataset_folder(dataset: str, data_path: str | Path | None = None) -> Path:
    """Return the folder of a dataset's files, where RecBole would look for them.

    Args:
        dataset: Name of the dataset.
        data_path: Folder of datasets; ``dataset`` by default.
    """
    if dataset == BUILT_IN:
        return Path(recbole.__file__).parent / "dataset_example" / dataset
    return Path(data_path or "dataset") / dataset


def interaction_files(
    data_path: str, dataset: str, benchmark_filename: Sequence[str] | None = None
) -> list[Path]:
    """Return the paths of the interaction files that a dataset needs.

    Args:
        data_path: Folder of the dataset's files (``config["data_path"]``).
        dataset: Name of the dataset.
        benchmark_filename: Names of ready splits; one file each.
    """
    parts = [f".{part}" for part in benchmark_filename] if benchmark_filename else [""]
    return [Path(data_path) / f"{dataset}{part}.inter" for part in parts]


def ensure_files(
    data_path: str,
    dataset: str,
    benchmark_filename: Sequence[str] | None = None,
) -> None:
    """Make sure that the interaction files exist; download a dataset that RecBole knows.

    Args:
        data_path: Folder of the dataset's files (``config["data_path"]``).
        dataset: Name of the dataset.
        benchmark_filename: Names of ready splits; these are never downloaded.

    Only the first process of a machine downloads; the others wait.

    Raises:
        UsageError: A file is missing and cannot be had; the line says where it belongs.
    """
    files = interaction_files(data_path, dataset, benchmark_filename)
    url = known_urls().get(dataset)
    folder = Path(data_path)
    if url and not benchmark_filename:
        with together():
            there = folder.is_dir() and any(folder.iterdir())
            if local_rank() == 0 and not there:
                download(url, folder, dataset)
    missing = [file for file in files if not file.is_file()]
    if missing:
        hint = "" if url else nearest(dataset, {*known_datasets(folder.parent), *known_urls()})
        raise UsageError(f"dataset '{dataset}' not found: there is no file {missing[0]}{hint}")


def known_urls() -> dict[str, str]:
    """Return the datasets that RecBole can download, name to URL."""
    table = Path(recbole.__file__).parent / "properties" / "dataset" / "url.yaml"
    urls: dict[str, str] = yaml.safe_load(table.read_text(encoding="utf-8"))
    return urls


def known_datasets(folder: Path) -> Iterator[str]:
    """Yield the names of the datasets whose interactions lie in sub-folders of ``folder``."""
    for file in folder.glob("*/*.inter"):
        if file.name.startswith(f"{file.parent.name}."):
            yield file.parent.name


def download(url: str, folder: Path, dataset: str) -> None:
    """Download a dataset into ``folder``, wholly or not at all, without asking.

    Args:
        url: Address of a zip archive of atomic files.
        folder: Where the files go.
        dataset: Name that the files get.

    Raises:
        UsageError: The download failed; the line says where the files go.
    """
    getLogger().info(f"Downloading dataset '{dataset}' from {url} to {folder}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{dataset}-") as temporary:
        try:
            with _timeout(DOWNLOAD_TIMEOUT):
                archive = Path(download_url(url, temporary))
            extract_zip(str(archive), temporary)
            archive.unlink()
            rename_atomic_files(temporary, archive.stem, dataset)
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # RecBole turns it into another
                raise KeyboardInterrupt from None
            raise UsageError(
                f"dataset '{dataset}' is not in {folder} and could not be downloaded from {url} "
                f"({error}); put its files there: {folder / dataset}.inter"
            ) from None
        folder.mkdir(exist_ok=True)
        for file in Path(temporary).iterdir():
            shutil.move(str(file), folder / file.name)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def header_columns(
    data_path: str,
    dataset: str,
    benchmark_filename: Sequence[str] | None = None,
    field_separator: str = "\t",
    encoding: str = "utf-8",
    suffixes: Iterable[str] = ("inter", "user", "item"),
) -> dict[str, list[str]]:
    """Read which columns the headers of the atomic files offer, as a value of ``load_col``.

    Args:
        data_path: Folder of the dataset's files (``config["data_path"]``).
        dataset: Name of the dataset.
        benchmark_filename: Names of ready splits; the columns of the first are read.
        field_separator: Separator of the columns.
        encoding: Encoding of the files.
        suffixes: Kinds of files to look for.

    Returns:
        Names of the columns of each kind of file that exists.

    Raises:
        UsageError: A header does not follow RecBole's ``name:type``.
    """
    columns = {}
    for suffix in suffixes:
        file = Path(data_path) / f"{dataset}.{suffix}"
        if suffix == "inter":
            file = interaction_files(data_path, dataset, benchmark_filename)[0]
        if file.is_file():
            columns[suffix] = read_header(file, field_separator, encoding)
    return columns


def read_header(file: Path, field_separator: str = "\t", encoding: str = "utf-8") -> list[str]:
    """Return the names of a file's columns.

    Raises:
        UsageError: A column is not ``name:type`` with one of RecBole's types, or the file has
            another encoding.
    """
    try:
        with open(file, encoding=encoding) as lines:
            header = lines.readline().rstrip("\n")
    except UnicodeError as error:
        raise UsageError(f"{file} is not in encoding={encoding}: name the right one") from error
    types = [feature_type.value for feature_type in FeatureType]
    names = []
    for column in header.split(field_separator):
        name, _, column_type = column.partition(":")
        if not name or column_type not in types:
            raise UsageError(
                f"{file}: column '{column}' of the header is not name:type with a type of "
                f"{', '.join(types)}, separated by {field_separator!r}"
            )
        if name in names:
            raise UsageError(f"{file}: the header names column '{name}' twice")
        names.append(name)
    return names


def refuse_empty(file: Path, needed: bool) -> None:
    """Refuse a file that has a header alone.

    Args:
        file: An atomic file.
        needed: Whether it is one of interactions.

    Raises:
        UsageError: Always; names the file.
    """
    left = "it needs a row for each interaction" if needed else "fill it, or remove it"
    raise UsageError(f"{file} has no row below its header: {left}")


def check_rows(file: Path, field_separator: str, encoding: str, whole: bool) -> None:
    """Check that rows have as many fields as the header; longer ones would shift every column.

    Args:
        file: An atomic file.
        field_separator: Separator of the columns.
        encoding: Encoding of the file.
        whole: Whether rows may not be shorter, either, as that of a file that was cut off.

    Raises:
        UsageError: A row is longer or shorter, there is none, or the file has another encoding;
            names the line.
    """
    try:
        with file.open(encoding=encoding) as lines:
            fields, number = next(lines, "").count(field_separator), 1
            for number, line in enumerate(lines, start=2):
                _require_text(file, number, line)
                found = line.count(field_separator)
                if found != fields and (found > fields or (whole and line != "\n")):
                    raise UsageError(
                        f"{file} line {number} has {found + 1} fields, the header {fields + 1}"
                    )
            if number == 1:
                refuse_empty(file, whole)
    except UnicodeError as error:
        raise UsageError(f"{file} is not in encoding={encoding}: name the right one") from error


def refuse_nul(file: Path, encoding: str) -> None:
    """Check that a file holds no NUL: some versions of pandas end a value there.

    Raises:
        UsageError: A line holds one; names it.
    """
    with file.open(encoding=encoding, errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            _require_text(file, number, line)


def _require_text(file: Path, number: int, line: str) -> None:
    if "\0" in line:
        raise UsageError(f"{file} line {number} holds a NUL character: the file is damaged")


def loaded_columns(config: Any) -> list[str]:
    """Return the interaction columns that RecBole will load, by ``load_col`` and ``unload_col``."""
    offered = _offered_columns(config)
    load = (config["load_col"] or {"inter": "*"}).get("inter", [])
    unload = (config["unload_col"] or {}).get("inter", [])
    return [name for name in offered if (load == "*" or name in load) and name not in unload]


def _offered_columns(config: Any) -> list[str]:
    files = interaction_files(config["data_path"], config["dataset"], config["benchmark_filename"])
    return read_header(files[0], config["field_separator"], config["encoding"] or "utf-8")


def require_columns(config: Any, keys: Iterable[str], reason: str = "") -> None:
    """Check that the columns which configuration keys name will be loaded.

    Args:
        config: RecBole's configuration.
        keys: Keys that name a column, e.g. ``TIME_FIELD``.
        reason: Who needs the column, e.g. ``"SASRec needs a time field: "``.

    Raises:
        UsageError: Such a column is not in the file, or is not loaded; names key and columns.
    """
    require_named_columns(config, [(f"{reason}{key}", config[key]) for key in keys])


def require_named_columns(config: Any, named: Iterable[tuple[str, str]]) -> None:
    """Check that columns will be loaded.

    Args:
        config: RecBole's configuration.
        named: Who names a column, e.g. ``"TIME_FIELD"``, and the column.

    Raises:
        UsageError: One is not in the file, or is not loaded; names key and columns.
    """
    offered, loaded = _offered_columns(config), loaded_columns(config)
    files = interaction_files(config["data_path"], config["dataset"], config["benchmark_filename"])
    for key, name in named:
        if name in loaded:
            continue
        if name in offered:
            raise UsageError(
                f"{key} is '{name}', which load_col or unload_col leaves out; "
                f"load_col takes {loaded} of {offered} from {files[0].name}"
            )
        raise UsageError(
            f"{key} is '{name}', which is not in {files[0]}; the columns are {', '.join(offered)}"
        )
