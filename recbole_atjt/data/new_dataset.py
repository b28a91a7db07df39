"""Writing a dataset beside one that is there, wholly or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_atjt.data.files import BUILT_IN
from recbole_atjt.errors import UsageError


def refuse_folder(folder: Path, source: Path | None = None) -> None:
    """Refuse a folder that is no new one for a dataset.

    Args:
        folder: Folder to write.
        source: Folder of the dataset that is read; None where it need not be told.

    Raises:
        UsageError: The folder exists, lies in the original, or has a name that RecBole never reads.
    """
    if source is not None and source.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(
            f"output_dir={folder} lies in {source}, the original, which is never touched: name a "
            "folder elsewhere"
        )
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"output_dir={folder} exists already: name a new folder")
    if folder.name == BUILT_IN:
        raise UsageError(
            f"output_dir={folder}: RecBole reads a dataset named {BUILT_IN} from its own copy "
            "only; give the folder another name"
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write to, which becomes ``target`` when all is well.

    Raises:
        UsageError: It can't be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            folder = Path(temporary) / target.name
            folder.mkdir()
            yield folder
            folder.rename(target)
    except OSError as error:
        raise UsageError(f"output_dir={target} can't be written to: {error.strerror}") from error


def copy_others(source: Path, dataset: str, folder: Path) -> None:
    """Copy a dataset's files but those of interactions, under the name of the new folder."""
    for file in source.glob(f"{dataset}.*"):
        if file.is_file() and file.suffix != ".inter":
            shutil.copyfile(file, folder / renamed(file.name, dataset, folder.name))


def renamed(name: str, dataset: str, new: str) -> str:
    """Return the name of a dataset's file as that of another dataset."""
    return f"{new}{name[len(dataset) :]}"
