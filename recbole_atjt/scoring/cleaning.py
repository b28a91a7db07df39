"""A dataset without the interactions that are most likely noise."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from recbole_atjt.data.files import dataset_folder, ensure_files
from recbole_atjt.data.new_dataset import copy_others, new_folder, refuse_folder, renamed
from recbole_atjt.data.splits import PARTS
from recbole_atjt.data.text_rows import TextRows
from recbole_atjt.errors import UsageError
from recbole_atjt.scoring.choice import Choice, choose
from recbole_atjt.scoring.table import read_scores
from recbole_atjt.scoring.writing import read_summary, read_unscored

#: Name of the file of what was left out, without its ending.
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Form:
    """How the file of interactions is written.

    Args:
        file: Its path.
        user: Column of users.
        item: Column of items.
        separator: What stands between columns.
        encoding: Its encoding.
    """

    file: Path
    user: str = "user_id"
    item: str = "item_id"
    separator: str = "\t"
    encoding: str = "utf-8"

    @classmethod
    def of(cls, folder: Path, dataset: str, summary: Mapping[str, Any]) -> Form:
        """Take it from what was written beside the scores; the usual form where there is none.

        Raises:
            UsageError: The scores are of another dataset.
        """
        known = summary.get("dataset", dataset)
        if known != dataset:
            raise UsageError(f"dataset={dataset}: the scores are of dataset '{known}'")
        config = summary.get("config", {})
        return cls(
            folder / summary.get("file", f"{dataset}.inter"),
            config.get("USER_ID_FIELD") or "user_id",
            config.get("ITEM_ID_FIELD") or "item_id",
            config.get("field_separator") or "\t",
            config.get("encoding") or "utf-8",
        )


@dataclass(frozen=True)
class Cleaned:
    """What cleaning did.

    Attributes:
        file: The new file of interactions.
        left_out: File of the interactions that were left out.
        choice: Which they are, and why not more.
        ready: Names of ready splits, as ``benchmark_filename`` takes them; empty for none.
    """

    file: Path
    left_out: Path
    choice: Choice
    ready: list[str] = field(default_factory=list)


def clean_dataset(
    scores: str | Path,
    dataset: str,
    output_dir: str | Path,
    data_path: str | Path | None = None,
    above: float | None = None,
    share: float | None = None,
    min_user_inter: int = 5,
    ready_splits: bool = False,
) -> Cleaned:
    """Write a dataset without the training interactions of the highest scores.

    All other rows are those of the file to the byte, in its order; what has no score, validation
    and test among it, stays. The original is never touched.

    Args:
        scores: File of scores.
        dataset: Name of the dataset that they are of.
        output_dir: Folder to write, wholly or not at all; its name becomes the dataset's.
        data_path: Folder of datasets; ``dataset`` by default.
        above: Interactions with a higher score are left out.
        share: This share of the scored interactions is left out, those of the highest scores.
        min_user_inter: No user is left with fewer interactions by leaving some out.
        ready_splits: Whether to write the parts of the split that was scored as files of their own,
            too, so that a split by ratio does not move.

    Raises:
        UsageError: A value is wrong, the scores are of another file, or the folder exists.
    """
    scores, target = Path(scores), Path(output_dir)
    folder = dataset_folder(dataset, data_path)
    refuse_folder(target, folder)
    if target.name == LEFT_OUT:
        raise UsageError(f"output_dir={target}: {LEFT_OUT} is the name of another file there")
    form = Form.of(folder, dataset, read_summary(scores.parent))
    if not form.file.is_file():
        ensure_files(str(folder), dataset)
    table = read_scores(scores)
    text = TextRows.read(form.file, [form.user, form.item], form.separator, form.encoding)
    _require_same(table, text, form, scores)
    users = text.columns[form.user]
    choice = choose(table, users, above, share, min_user_inter)
    parts: dict[int, str] = {}
    if ready_splits:
        parts = _parts(form, dataset, scores.parent, table)
    with new_folder(target) as new:
        copy_others(folder, dataset, new)
        if form.file.name != f"{dataset}.inter":  # one of several ready splits
            for other in folder.glob(f"{dataset}.*.inter"):
                shutil.copyfile(other, new / renamed(other.name, dataset, new.name))
        name = renamed(form.file.name, dataset, new.name)
        _divide(form, new, name, set(choice.lines.tolist()), parts)
    return Cleaned(
        target / name, target / f"{LEFT_OUT}.inter", choice, list(PARTS) if ready_splits else []
    )


def _require_same(table: pd.DataFrame, text: TextRows, form: Form, scores: Path) -> None:
    """Check that each score is of the click in its line.

    Raises:
        UsageError: One is not.
    """
    place = np.searchsorted(text.line, table["line"].to_numpy())
    there = place < len(text.line)
    place = np.where(there, place, 0)
    there &= text.line[place] == table["line"].to_numpy()
    for name, field_name in (("user", form.user), ("item", form.item)):
        if field_name not in text.columns:
            raise UsageError(f"{form.file} has no column '{field_name}'")
        same = text.columns[field_name][place] == table[name].to_numpy(dtype=object)
        wrong = np.flatnonzero(~(there & same))
        if len(wrong):
            row = table.iloc[wrong[0]]
            found = f"'{text.columns[field_name][place[wrong[0]]]}'"
            raise UsageError(
                f"scores={scores} is of another file: it has {name} '{row[name]}' in line "
                f"{row['line']} of {form.file}, where there is "
                f"{found if there[wrong[0]] else 'none'}; noise that a run plants is in no file "
                "(plant as a command writes one)"
            )


def _parts(form: Form, dataset: str, folder: Path, table: pd.DataFrame) -> dict[int, str]:
    """Return the part of each line that belongs to one.

    Raises:
        UsageError: The parts are ready files already, or not known.
    """
    if form.file.name != f"{dataset}.inter":
        raise UsageError(f"ready_splits: {form.file.name} is a ready split already")
    others = read_unscored(folder)
    parts = dict.fromkeys(table["line"].tolist(), PARTS[0])
    named = others["part"].replace("first", PARTS[0])
    return {**parts, **dict(zip(others["line"].tolist(), named))}


def _divide(form: Form, folder: Path, name: str, lines: set[int], parts: dict[int, str]) -> None:
    """Copy each line to where it belongs, the header to all."""
    with ExitStack() as stack:

        def write_to(name: str) -> TextIO:
            path = folder / name
            return stack.enter_context(open(path, "w", encoding=form.encoding, newline=""))

        source = stack.enter_context(open(form.file, encoding=form.encoding, newline="\n"))
        kept, left_out = write_to(name), write_to(f"{LEFT_OUT}.inter")
        files = {part: write_to(f"{folder.name}.{part}.inter") for part in PARTS if parts}
        header = next(source)
        for file in (kept, left_out, *files.values()):
            file.write(header)
        for number, line in enumerate(source, start=2):
            if number in lines:
                left_out.write(line)
                continue
            kept.write(line)
            if number in parts:
                files[parts[number]].write(line)
