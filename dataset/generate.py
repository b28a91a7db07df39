"""Generate a small sequential dataset with planted noise, in RecBole's atomic format.

Genres lie on a ring. Every user has a favourite genre and drifts from it to the next one on the
ring over the history. A clean click takes a genre near the current favourite, then an item of that
genre: half the time one of the fixed followers of the item clicked before (what a sequential model
can learn), otherwise by popularity. A noisy click ignores user and history: half the time any item,
otherwise one of a few clickbait items. Nobody clicks an item twice. ``is_noise`` is 1 on noisy
clicks; ratings agree with it, as in MovieLens: 1 and 2 on noise, 3 to 5 elsewhere.

Only uniform random numbers and elementary arithmetic are used, so that a seed gives the same bytes
on every machine.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

GENRES = (
    "Action",
    "Adventure",
    "Fantasy",
    "Animation",
    "Comedy",
    "Romance",
    "Drama",
    "History",
    "War",
    "Crime",
    "Mystery",
    "Horror",
)
GENRE_SHIFTS = (0, 1, -1)
GENRE_SHARES = (0.7, 0.15, 0.15)
FOLLOWERS = 3
BAITS = 12
SECONDS_PER_DAY = 86_400
FIRST_SECOND = 1_577_836_800


@dataclass(frozen=True)
class Click:
    """One row of the interaction file."""

    user: int
    item: int
    rating: int
    timestamp: int
    is_noise: bool


class Catalogue:
    """Items numbered from 1, with a genre each, popularity, followers and clickbait.

    Args:
        items: Number of items; every genre gets its equal share.
        random: Source of randomness.
    """

    def __init__(self, items: int, random: np.random.Generator) -> None:
        self.random = random
        self.genre = np.argsort(random.random(items), kind="stable") % len(GENRES)
        rank = np.argsort(random.random(items), kind="stable")
        self.popularity = 1.0 / (rank + 10.0)
        self.followers = [self._draw_followers(item) for item in range(items)]
        self.baits = np.argsort(random.random(items), kind="stable")[:BAITS]

    def _draw_followers(self, item: int) -> npt.NDArray[np.int64]:
        peers = np.flatnonzero(self.genre == self.genre[item])
        return np.array([peers[self.draw_index(len(peers))] for _ in range(FOLLOWERS)])

    def draw_index(self, size: int) -> int:
        """Return one of ``0 .. size - 1``, each equally likely."""
        return min(int(self.random.random() * size), size - 1)

    def draw_weighted(self, weights: npt.NDArray[np.float64]) -> int:
        """Return an index with a probability proportional to its weight."""
        bounds = np.cumsum(weights)
        drawn = int(np.searchsorted(bounds, self.random.random() * bounds[-1], side="right"))
        return min(drawn, len(weights) - 1)

    def draw_clean(self, favourite: int, previous: int | None) -> int:
        """Return an item near the favourite genre, perhaps one that follows the previous item."""
        shift = GENRE_SHIFTS[self.draw_weighted(np.array(GENRE_SHARES))]
        genre = (favourite + shift) % len(GENRES)
        if previous is not None and self.genre[previous] == genre and self.random.random() < 0.5:
            return int(self.followers[previous][self.draw_index(FOLLOWERS)])
        return self.draw_weighted(np.where(self.genre == genre, self.popularity, 0.0))

    def draw_noise(self) -> int:
        """Return an item that depends on neither the user nor the history."""
        if self.random.random() < 0.5:
            return self.draw_index(len(self.genre))
        return int(self.baits[self.draw_index(BAITS)])


def draw_history(
    user: int, catalogue: Catalogue, lengths: tuple[int, int], noise_share: float
) -> list[Click]:
    """Return one user's clicks in the order of time, without repeated items."""
    random = catalogue.random
    start = catalogue.draw_index(len(GENRES))
    length = lengths[0] + catalogue.draw_index(lengths[1] - lengths[0] + 1)
    now = FIRST_SECOND + catalogue.draw_index(365 * SECONDS_PER_DAY)
    clicks: list[Click] = []
    seen: set[int] = set()
    previous: int | None = None
    for position in range(length):
        is_noise = bool(random.random() < noise_share)
        favourite = (start + (random.random() < position / length)) % len(GENRES)
        item = previous
        while item is None or item in seen:
            item = catalogue.draw_noise() if is_noise else catalogue.draw_clean(favourite, previous)
        seen.add(item)
        rating = 1 + catalogue.draw_index(2) if is_noise else 3 + catalogue.draw_index(3)
        now += 60 + catalogue.draw_index(SECONDS_PER_DAY)
        clicks.append(Click(user, item + 1, rating, now, is_noise))
        previous = previous if is_noise else item
    return clicks


def write_dataset(
    directory: Path,
    seed: int = 2020,
    users: int = 300,
    items: int = 400,
    lengths: tuple[int, int] = (15, 45),
    noise_share: float = 0.2,
) -> None:
    """Write ``<name>.inter`` and ``<name>.item`` into a directory, which names the dataset.

    Args:
        directory: Where to write; made if it does not exist.
        seed: Same seed, same bytes.
        users: Number of users.
        items: Number of items, of which some may never be clicked.
        lengths: Shortest and longest history.
        noise_share: Chance that a click is noise, in [0, 1).

    Raises:
        ValueError: If a history could run out of items; clean clicks see a quarter at a time.
    """
    if users < 1 or not 0 <= noise_share < 1 or not 1 <= lengths[0] <= lengths[1]:
        raise ValueError("users and lengths must be at least 1, noise_share in [0, 1)")
    if items < 4 * lengths[1]:
        raise ValueError(f"items must be at least {4 * lengths[1]}, four times the longest history")
    catalogue = Catalogue(items, np.random.Generator(np.random.PCG64(seed)))
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\tis_noise:float"]
    for user in range(1, users + 1):
        rows.extend(
            f"{click.user}\t{click.item}\t{click.rating}\t{click.timestamp}\t{click.is_noise:d}"
            for click in draw_history(user, catalogue, lengths, noise_share)
        )
    names = ["item_id:token\tclass:token_seq"]
    names.extend(f"{item}\t{GENRES[genre]}" for item, genre in enumerate(catalogue.genre, start=1))
    directory.mkdir(parents=True, exist_ok=True)
    for suffix, lines in (("inter", rows), ("item", names)):
        text = "\n".join(lines) + "\n"
        (directory / f"{directory.name}.{suffix}").write_bytes(text.encode("ascii"))


def main() -> None:
    """Read the command line and write the dataset."""
    parser = argparse.ArgumentParser(
        description="Generate a small sequential dataset with planted noise.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=Path(__file__).parent / "planted-noise",
        help="where to write; its name becomes the dataset's",
    )
    parser.add_argument("--seed", type=int, default=2020, help="same seed, same bytes")
    parser.add_argument("--users", type=int, default=300, help="number of users")
    parser.add_argument("--items", type=int, default=400, help="number of items")
    parser.add_argument("--noise_share", type=float, default=0.2, help="share of noisy clicks")
    given = vars(parser.parse_args())
    try:
        write_dataset(**given)
    except ValueError as wrong:
        parser.error(str(wrong))


if __name__ == "__main__":
    main()
