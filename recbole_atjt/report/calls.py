"""What the calls into a folder were asked to make, kept so that another process can go on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_atjt.data.replacing import write_whole
from recbole_atjt.errors import UsageError
from recbole_atjt.report.reading import read_json
from recbole_atjt.settings.resources import config_file

CALLS = "calls.json"
"""Name of the file in a call's folder."""


@dataclass(frozen=True)
class Planned:
    """One run that a call was asked to make.

    Attributes:
        name: Name of the run, which tells the runs of a folder apart.
        model: What names its model: a name, or ``module:Class``; None for a class of a script.
        dataset: Name of its dataset; None where the settings say it.
        files: The texts of its config files, in their order.
        given: Settings that win over the files, as they were given.
    """

    name: str
    model: str | None
    dataset: str | None
    files: list[str]
    given: dict[str, Any]


def write_calls(folder: Path, planned: Sequence[Planned]) -> None:
    """Add runs to the file, by rename.

    Raises:
        UsageError: It can't be written, a setting has no form in it, or what is there is damaged.
    """
    path = folder / CALLS
    kept = read_calls(folder) if path.exists() else []
    names = {each.name for each in planned}
    _write(path, [*(each for each in kept if each.name not in names), *planned])


def forget_calls(folder: Path, names: Collection[str]) -> None:
    """Take runs out of the file, which is removed where none is left.

    Raises:
        UsageError: As for :func:`write_calls`.
    """
    kept = [each for each in read_calls(folder) if each.name not in names]
    if kept:
        _write(folder / CALLS, kept)
    else:
        (folder / CALLS).unlink()


def _write(path: Path, planned: Sequence[Planned]) -> None:
    try:
        text = json.dumps({"runs": [asdict(each) for each in planned]}, indent=1)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a setting has no plain form: {error}") from error
    write_whole(path, text + "\n")


def read_calls(folder: Path) -> list[Planned]:
    """Return the runs that calls into a folder were asked to make.

    Raises:
        UsageError: There is no such file, or it is damaged.
    """
    path = folder / CALLS
    content = read_json(path)
    runs = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not all(map(_is_planned, runs)):
        raise UsageError(f"{path} is damaged: it names no runs")
    return [Planned(**run) for run in runs]


def _is_planned(run: Any) -> bool:
    return (
        isinstance(run, dict)
        and set(run) == set(Planned.__dataclass_fields__)
        and isinstance(run["name"], str)
        and isinstance(run["model"], (str, type(None)))
        and isinstance(run["dataset"], (str, type(None)))
        and isinstance(run["files"], list)
        and all(isinstance(text, str) for text in run["files"])
        and isinstance(run["given"], dict)
    )


def texts_of(files: Sequence[str] | None) -> list[str]:
    """Return the texts of config files.

    Raises:
        UsageError: One can't be read.
    """
    texts = []
    for name in files or ():
        try:
            texts.append(config_file(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"config file {name} can't be read: {error}") from error
    return texts


@contextmanager
def files_of(planned: Planned) -> Iterator[list[str]]:
    """Yield config files with the texts that a run's had."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.yaml" for number in range(len(planned.files))]
        for path, text in zip(paths, planned.files):
            path.write_text(text, encoding="utf-8")
        yield list(map(str, paths))


def named_model(model: Any, known: Mapping[str, Any]) -> str | None:
    """Return what names a model for another process; None for a class of a script.

    Args:
        model: A name, a class, or None where the settings name it.
        known: The classes that have a name.
    """
    if not isinstance(model, type):
        return str(model or "")
    name, module = model.__name__, model.__module__
    if known.get(name) is model:
        return name
    return f"{module}:{name}" if module != "__main__" and name == model.__qualname__ else None
