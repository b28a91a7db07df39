"""The names of items, where the data has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_atjt.data.text_rows import TextRows

#: Columns of items that hold a name, in the order in which they are looked for.
TITLES = ("title", "movie_title", "name", "item_name", "title_name")


def titles_of(dataset: Any) -> list[str] | None:
    """Return the title of each item, by number, whether its column is loaded or not.

    Args:
        dataset: A dataset of RecBole's.

    Returns:
        ``[n_items]`` titles, empty for the padding and for items without one; None where no
        ``.item`` file has a column of titles.
    """
    config, items = dataset.config, dataset.iid_field
    file = Path(config["data_path"]) / f"{dataset.dataset_name}.item"
    if not file.is_file():
        return None
    separator, encoding = config["field_separator"], config["encoding"] or "utf-8"
    found = TextRows.read(file, (items, *TITLES), separator, encoding).columns
    name = next((each for each in TITLES if each in found), None)
    if name is None or items not in found:
        return None
    by_token = dict(zip(found[items], found[name]))
    return [str(by_token.get(str(token), "")) for token in dataset.field2id_token[items]]
