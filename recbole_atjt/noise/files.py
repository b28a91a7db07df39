"""Atomic files with planted noise and its truth, for use with any program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from recbole_atjt.data.files import ensure_files, read_header, refuse_nul
from recbole_atjt.data.new_dataset import copy_others, new_folder, refuse_folder
from recbole_atjt.errors import UsageError
from recbole_atjt.noise.file_noise import FileNoise, plant_clicks, with_noise
from recbole_atjt.noise.frames import Columns, read_clicks
from recbole_atjt.noise.plan import BAIT, SEED
from recbole_atjt.noise.spec import read_plan

CHUNK = 500_000
"""Rows that are read and written at a time."""


def plant_files(
    data_path: str | Path,
    dataset: str,
    plant: Any,
    output_dir: str | Path,
    seed: int = SEED,
    items: int = BAIT,
    keep: float = 2,
    user_field: str = "user_id",
    item_field: str = "item_id",
    time_field: str = "timestamp",
    field_separator: str = "\t",
    encoding: str = "utf-8",
) -> Path:
    """Write a dataset's atomic files with planted noise and the column ``is_noise``.

    All values but the replaced items, and the times of added rows, are those of the file to the
    character; a column ``is_noise`` that is there is replaced, 1 where noise was planted and 0
    elsewhere. Other files of the dataset are copied. The original is never touched.

    Args:
        data_path: Folder of the dataset's files.
        dataset: Name of the dataset.
        plant: ``KIND:SHARE[,KIND:SHARE]``.
        output_dir: Folder to write, wholly or not at all; its name becomes the dataset's.
        seed: ``plant_seed``.
        items: ``plant_items``.
        keep: Last clicks of each user that stay: those which a split leaves to validation and test.
            A number inside (0, 1) is a share of the user's clicks, rounded up.
        user_field: Column of users.
        item_field: Column of items.
        time_field: Column of times; where it is missing, clicks are in the order of the file.
        field_separator: Separator of the columns.
        encoding: Encoding of the files.

    Returns:
        The new ``.inter`` file.

    Raises:
        UsageError: A value is wrong, a file or a column is missing, or the folder exists.
    """
    plan = read_plan(plant, seed, items)
    if plan is None:
        raise UsageError("plant is missing: give KIND:SHARE, such as clickbait:0.3")
    _require_keep(keep)
    source, target = Path(data_path), Path(output_dir)
    refuse_folder(target)
    ensure_files(str(source), dataset)
    inter = source / f"{dataset}.inter"
    columns = Columns.of(
        read_header(inter, field_separator, encoding), user_field, item_field, time_field, inter
    )
    refuse_nul(inter, encoding)
    chunks = _Chunks(inter, field_separator, encoding)
    noise = plant_clicks(plan, read_clicks(chunks, columns), keep)
    with new_folder(target) as folder:
        copy_others(source, dataset, folder)
        with open(folder / f"{target.name}.inter", "w", encoding=encoding, newline="") as out:
            _write(out, chunks, columns, noise)
    return target / f"{target.name}.inter"


def _require_keep(keep: Any) -> None:
    whole = isinstance(keep, int) and not isinstance(keep, bool) and keep >= 0
    if not whole and not (isinstance(keep, float) and 0 < keep < 1):
        raise UsageError(
            f"keep={keep} is out of range: it must be a whole number of at least 0, or a share "
            "inside (0, 1)"
        )


class _Chunks:
    """Frames of text, ``CHUNK`` rows each; a second walk reads the file again."""

    def __init__(self, file: Path, separator: str, encoding: str) -> None:
        self.file, self.separator, self.encoding = file, separator, encoding

    def __iter__(self) -> Iterator[pd.DataFrame]:
        with pd.read_csv(
            self.file,
            sep=self.separator,
            encoding=self.encoding,
            dtype=str,
            na_filter=False,
            quoting=3,  # a quotation mark is a character as any other
            chunksize=CHUNK,
            index_col=False,
        ) as reader:
            yield from reader


def _write(out: TextIO, chunks: _Chunks, columns: Columns, noise: FileNoise) -> None:
    start = 0
    for chunk in chunks:
        frame = with_noise(chunk, columns, noise, start)
        if not start:
            out.write(chunks.separator.join(frame.columns) + "\n")
        first, rest = frame.iloc[:, 0], frame.iloc[:, 1:]
        out.write("\n".join(first.str.cat(rest, sep=chunks.separator)) + "\n")
        start += len(chunk)
