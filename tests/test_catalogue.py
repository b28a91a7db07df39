"""What a checkpoint keeps of the data: names, titles, clicks and features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recbole_atjt
from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.checkpoint.texts import pack, unpack
from recbole_atjt.data.known import KnownClicks
from tests.runs import fit, settings
from tests.served import ITEMS, USERS, Served, serve


@given(st.lists(st.text() | st.just("\ud800 \U0001f600")))
def test_texts_come_back_equal(texts: list[str]) -> None:
    packed = pack(texts)
    assert unpack(packed) == texts
    assert (packed["bytes"].dtype, packed["lengths"].dtype) == (torch.uint8, torch.int32)


@pytest.mark.parametrize("lengths", [[1], [3, 1], [-1, 4], []])
def test_lengths_that_are_not_those_of_the_bytes(lengths: list[int]) -> None:
    packed = {"bytes": pack(["abc"])["bytes"], "lengths": torch.tensor(lengths)}
    with pytest.raises(ValueError, match="texts of"):
        unpack(packed)


def test_clicks_are_sorted_by_user_and_stay_in_order() -> None:
    found = KnownClicks.of(np.array([2, 1, 2, 2]), np.array([9, 8, 7, 6]), 4)
    assert found.items.tolist() == [8, 9, 7, 6]
    assert found.counts.tolist() == [0, 1, 3, 0]
    assert found.ends.tolist() == [0, 1, 4, 4]
    assert found.items.dtype == found.counts.dtype == np.int32


def kept(path: Path) -> Catalogue:
    return Catalogue.unpacked(load_checkpoint(path).meta["catalogue"])


def clicks_of(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return users' clicks by token, by a plain loop."""
    found, place = {}, 0
    for user, count in zip(catalogue.users, catalogue.clicks.counts.tolist()):
        items = catalogue.clicks.items[place : place + count].tolist()
        found[user] = [catalogue.items[item] for item in items]
        place += count
    return found


def require_clicks(catalogue: Catalogue, served: Served, ordered: bool = True) -> None:
    found = clicks_of(catalogue)
    assert found.pop("[PAD]") == []
    sort: Any = list if ordered else sorted
    expected = {user: sort(items) for user, items in served.clicks.items()}
    assert {user: sort(items) for user, items in found.items()} == expected


def test_a_sequential_model_keeps_all_clicks_and_no_features(tmp_path: Path) -> None:
    served = serve("SASRec", tmp_path)
    catalogue = kept(served.path)
    assert len(catalogue.users) == USERS + 1
    clicked = {item for items in served.clicks.values() for item in items}
    assert set(catalogue.items[1:]) == clicked
    assert len(clicked) <= ITEMS
    assert catalogue.titles is not None  # its column is not loaded
    assert catalogue.titles[0] == ""
    for token, title in zip(catalogue.items[1:], catalogue.titles[1:]):
        assert title == f"Title, the {token[1:]}."
    require_clicks(catalogue, served)
    assert catalogue.user_features == catalogue.item_features == {}
    assert catalogue.trained_on is None


def test_a_general_model_keeps_what_it_was_trained_on(tmp_path: Path) -> None:
    served = serve("BPR", tmp_path)
    catalogue = kept(served.path)
    require_clicks(catalogue, served, ordered=False)
    assert catalogue.trained_on is not None
    found = list(zip(*(each.tolist() for each in catalogue.trained_on)))
    pairs = {
        (catalogue.users.index(user), catalogue.items.index(item))
        for user, items in served.clicks.items()
        for item in items[:-2]  # the last two are for validation and test
    }
    assert set(found) == pairs
    assert len(found) == len(pairs)


def test_a_context_aware_model_keeps_features(tmp_path: Path) -> None:
    served = serve("WideDeep", tmp_path)
    catalogue = kept(served.path)
    require_clicks(catalogue, served)
    assert set(catalogue.user_features) == {"user_id", "age", "gender"}
    assert set(catalogue.item_features) == {"item_id", "release_year", "class"}
    for name, column in {**catalogue.user_features, **catalogue.item_features}.items():
        assert column.dtype == torch.int64, name
    assert catalogue.user_features["gender"].unique().tolist() == [0, 1, 2]


def test_planted_noise_is_no_click(tmp_path: Path) -> None:
    served = serve("SASRec", tmp_path, plant="insert:0.3", weighting="channel")
    require_clicks(kept(served.path), served)


def test_the_state_of_a_resume_goes_without(tmp_path: Path) -> None:
    last, best = tmp_path / "last.safetensors", tmp_path / "best.safetensors"
    trainer = fit(2, checkpoint_dir=str(tmp_path))
    trainer._save(str(last), trainer.state(1))
    trainer._save_checkpoint(1, verbose=False, saved_model_file=str(best))
    one, other = (load_checkpoint(path) for path in (last, best))
    assert "catalogue" not in one.meta
    assert "catalogue" in other.meta
    assert one.model_state.keys() == other.model_state.keys()
    assert all(
        torch.equal(one.model_state[name], other.model_state[name]) for name in one.model_state
    )


def test_ready_lists_give_the_last_one_and_what_followed(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ready"
    folder.mkdir(parents=True)
    header = "user_id:token\titem_id_list:token_seq\titem_id:token"
    rows = {
        "train": ["a\tx y\tz", "b\ty\tx", "a\ty z\tx"],
        "valid": ["a\tz x\tw"],
        "test": ["b\ty x\tw"],
    }
    for part, lines in rows.items():
        (folder / f"ready.{part}.inter").write_text("\n".join([header, *lines]) + "\n")
    keys = settings(
        data_path=str(tmp_path / "data"),
        epochs=1,
        benchmark_filename=["train", "valid", "test"],
        load_col={"inter": ["user_id", "item_id_list", "item_id"]},
        alias_of_item_id=["item_id_list"],
        topk=[1],
        valid_metric="NDCG@1",
    )
    result = recbole_atjt.run(
        "GRU4Rec", "ready", "none", config_dict=keys, output_dir=tmp_path / "o"
    )
    found = clicks_of(kept(Path(result.runs[0].checkpoint)))
    assert found == {"[PAD]": [], "a": ["z", "x", "w"], "b": ["y", "x", "w"]}
