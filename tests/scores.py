"""Small datasets whose training clicks are scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from recbole.utils import init_seed

from recbole_atjt import DenoisingConfig
from recbole_atjt.loading import create_dataset, prepare_parts
from tests.runs import settings

HEADER = ["user_id:token", "item_id:token", "timestamp:float"]


def write_inter(
    name: str, rows: Iterable[Sequence[Any]], header: Sequence[str] = HEADER, part: str = ""
) -> Path:
    """Write ``data/NAME/NAME.inter``; return it."""
    file = Path("data") / name / f"{name}{part}.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def clicks(users: int = 12, length: int = 9, items: int = 11) -> list[list[str]]:
    """Return clicks of some users, who take turns in the file; all items come first in its head."""
    rows = [
        [f"u{u:02}", f"i{(u * 5 + t * (3 + u % 3)) % items}", str(1000 + 10 * t + u % 4)]
        for t in range(length)
        for u in range(users)
    ]
    assert len({row[1] for row in rows[:items]}) == items
    return rows


def keys(**changes: Any) -> dict[str, Any]:
    """Return settings of a short run on such a file."""
    given = {
        **settings(data_path="data", load_col=None, train_batch_size=16),
        "weighting": "channel",
        "user_inter_num_interval": None,
        "item_inter_num_interval": None,
    }
    return {**given, **changes}


def config_of(name: str, model: str = "GRU4Rec", **changes: Any) -> DenoisingConfig:
    """Return the config of a short run."""
    return DenoisingConfig(model, name, config_dict=keys(**changes))


def parts_of(config: Any) -> tuple[Any, list[Any]]:
    """Return a numbered dataset and its parts."""
    init_seed(config["seed"], True)
    dataset = create_dataset(config, numbered=True)
    return dataset, prepare_parts(config, dataset)
