"""The generated dataset: reproducible to the byte, and its noise is noise."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from tests.scripts import load_script

FOLDER = Path(__file__).resolve().parent.parent / "dataset"
COMMITTED = FOLDER / "planted-noise"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The generator, which is a script and not part of the package."""
    return load_script(FOLDER / "generate.py")


@pytest.fixture(scope="module")
def clicks() -> pd.DataFrame:
    """The committed interactions with the genre of each item."""
    inter = read(COMMITTED / "planted-noise.inter")
    return inter.merge(read(COMMITTED / "planted-noise.item"), on="item_id")


def read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t")
    return table.rename(columns=lambda name: name.split(":")[0])


def share_of_favourites(clicks: pd.DataFrame, rows: pd.Series, count: int = 3) -> float:
    """Share of the rows whose genre is among the user's most clicked ones."""
    genres = clicks.groupby("user_id")["class"]
    favourites = genres.agg(lambda column: set(column.value_counts().index[:count]))
    fits = [g in favourites[u] for u, g in zip(clicks["user_id"], clicks["class"])]
    return float(pd.Series(fits, index=clicks.index)[rows].mean())


def test_same_seed_gives_the_committed_bytes(generate: ModuleType, tmp_path: Path) -> None:
    generate.write_dataset(tmp_path / "planted-noise")
    for suffix in ("inter", "item"):
        made = (tmp_path / "planted-noise" / f"planted-noise.{suffix}").read_bytes()
        assert made == (COMMITTED / f"planted-noise.{suffix}").read_bytes()


def test_another_seed_gives_other_clicks(generate: ModuleType, tmp_path: Path) -> None:
    generate.write_dataset(tmp_path / "other", seed=7)
    made = (tmp_path / "other" / "other.inter").read_bytes()
    assert made != (COMMITTED / "planted-noise.inter").read_bytes()


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 300_000


def test_shape_and_ranges(clicks: pd.DataFrame) -> None:
    assert clicks["user_id"].nunique() == 300
    assert clicks["item_id"].between(1, 400).all()
    assert clicks.groupby("user_id").size().between(15, 45).all()
    assert set(clicks["is_noise"]) == {0, 1}
    assert clicks["is_noise"].mean() == pytest.approx(0.2, abs=0.02)


def test_nobody_clicks_an_item_twice(clicks: pd.DataFrame) -> None:
    assert not clicks.duplicated(["user_id", "item_id"]).any()


def test_time_orders_every_history() -> None:
    inter = read(COMMITTED / "planted-noise.inter")
    assert (inter.groupby("user_id")["timestamp"].diff().dropna() > 0).all()


def test_ratings_agree_with_the_noise(clicks: pd.DataFrame) -> None:
    assert ((clicks["rating"] < 3) == (clicks["is_noise"] == 1)).all()


def test_noise_fits_the_users_taste_less(clicks: pd.DataFrame) -> None:
    noisy = share_of_favourites(clicks, clicks["is_noise"] == 1)
    clean = share_of_favourites(clicks, clicks["is_noise"] == 0)
    assert clean > 0.85
    assert noisy < 0.4


def test_clickbait_is_clicked_by_users_of_all_tastes(clicks: pd.DataFrame) -> None:
    noise = clicks.loc[clicks["is_noise"] == 1, "item_id"].value_counts()
    share = noise.iloc[:12].sum() / noise.sum()
    assert 0.4 < share < 0.6, "half of the noise falls on the 12 clickbait items"


@pytest.mark.parametrize("noise_share", [0.0, 0.6])
def test_noise_share_is_a_setting(generate: ModuleType, tmp_path: Path, noise_share: float) -> None:
    generate.write_dataset(tmp_path / "set", users=100, noise_share=noise_share)
    drawn = read(tmp_path / "set" / "set.inter")["is_noise"].mean()
    assert drawn == pytest.approx(noise_share, abs=0.03)


@pytest.mark.parametrize(
    "wrong",
    [
        {"users": 0},
        {"items": 179},
        {"noise_share": 1.0},
        {"noise_share": -0.1},
        {"lengths": (9, 8)},
    ],
)
def test_impossible_settings_are_refused(
    generate: ModuleType, tmp_path: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        generate.write_dataset(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()
