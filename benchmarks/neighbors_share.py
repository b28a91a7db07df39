"""How much noise neighbours in other users' clicks show before any training.

    python benchmarks/neighbors_share.py --data_path=DIR

Prints beside what was planted the share of users whose clicks are unrelated, how well their
probability tells the planted ones from others (AUROC), the share of clicks that are repeated
without interest, that of noise on items whose clicks are unrelated, and that of noise by frequency,
or that there is none; of the last two without the clicks that the others tell of.
Where "repeated" is planted, users repeat a part of their clicks, which is no noise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import torch

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.data.clicks import clicks_in_order
from recbole_atjt.report.weights import auroc
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.floor import floor_of
from recbole_atjt.weighting.repeats import as_neighbors_read
from recbole_atjt.weighting.unrelated_clicks import UnrelatedClicks
from recbole_atjt.weighting.unrelated_items import noise_of_unrelated_items

USERS = {
    "ml-1m-noisy": "[80,110]",
    "amazon-beauty": "[10,inf)",
    "ml-100k": "[20,200]",
    "ml-latest-small": "[20,200]",
    "yelp-business": "[20,inf)",
}
PLANTS = (
    "",
    "users:0.1",
    "users:0.3",
    "popular:0.1",
    "popular:0.3",
    "clickbait:0.1",
    "clickbait:0.3",
    "burst:0.1",
    "burst:0.3",
)
#: What users do of their own accord: this part of clicks stands there so many times.
REPEATED, TIMES = 0.15, 5


def training_clicks(dataset: str, plant: str, data_path: str | None) -> tuple[Clicks, Any, int]:
    """Return training clicks with planted noise, the users that were planted, and the items."""
    keys: dict[str, Any] = {
        "user_inter_num_interval": USERS[dataset],
        "item_inter_num_interval": "[5,inf)",
        "MAX_ITEM_LIST_LENGTH": 5,
        "loss_type": "CE",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user"},
        "plant": plant or None,
        "state": "ERROR",
        **({} if data_path is None or dataset == "ml-100k" else {"data_path": data_path}),
    }
    with tempfile.TemporaryDirectory() as folder:
        ready = assemble(DenoisingConfig("GRU4Rec", dataset, None, keys), folder)
    train = ready.train_data.dataset
    clicks = Clicks(*clicks_in_order(train))
    noisy = train.inter_feat["is_noise"] > 0 if plant else None
    users = None if noisy is None else train.inter_feat["user_id"][noisy].unique()
    return clicks, users, train.item_num


def repeated(clicks: Clicks) -> Clicks:
    """Return clicks of which a part stands there several times."""
    drawn = torch.Generator().manual_seed(1)
    again = torch.rand(len(clicks.item), generator=drawn) < REPEATED
    count = torch.where(again, TIMES, 1)
    return Clicks(clicks.user.repeat_interleave(count), clicks.item.repeat_interleave(count))


def main() -> None:
    """Plant each noise in each dataset and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_path", help="folder that holds the datasets")
    parser.add_argument("--datasets", default=",".join(USERS))
    parser.add_argument("--plants", help="what is planted, by blanks; all below if left out")
    asked = parser.parse_args()
    plants = asked.plants.split() if asked.plants else (*PLANTS, "repeated", "repeated,burst:0.3")
    names = "data", "planted", "users unrelated", "AUROC", "repeats", "on items", "by frequency"
    print(f"| {' | '.join((*names, 'seconds'))} |")
    print("| --- " * (len(names) + 1) + "|")
    for dataset in asked.datasets.split(","):
        for named in plants:
            plant = named.removeprefix("repeated").lstrip(",")
            clicks, users, items = training_clicks(dataset, plant, asked.data_path)
            if plant != named:
                clicks = repeated(clicks)
            began = time.perf_counter()
            known = UnrelatedClicks(clicks, items)
            seconds = time.perf_counter() - began
            told = ""
            if plant.startswith("users") and known.users.share:
                every = clicks.user.unique()
                sound, planted = known.users.sound(every), torch.isin(every, users)
                told = f"{auroc(sound[~planted], sound[planted]):.3f}"
            left = as_neighbors_read(clicks, items)
            if known.share:
                left = known.without(left)
            on_items = float(noise_of_unrelated_items(left, items)[left.item].mean())
            floor = floor_of(left, items)
            spread = "none" if not on_items and floor.shows_none else f"{floor.noise:.3f}"
            found = f"{known.users.share:.3f} | {told} | {known.repeats.share:.3f}"
            shares = f"{found} | {on_items:.3f} | {spread}"
            row = f"| {dataset} | {named or 'nothing'} | {shares} | {seconds:.1f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
