"""Noise planted in the parts of a dataset: windows and rows, against naive reconstruction."""

from __future__ import annotations

import copy
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

import recbole_atjt
from recbole_atjt import DenoisingConfig
from recbole_atjt.errors import UsageError
from recbole_atjt.noise import KINDS, plant
from tests.models import data_path
from tests.planted import ALL, LENGTH, fingerprint, parts_of
from tests.runs import LEAVE_ONE_OUT, assemble, settings, train

MODELS = ["SASRec", "GRU4Rec", "WideDeep", "DIN", "DIEN", "BPR"]
RATIO = {"split": {"RS": [3, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}


def columns_of(part: Any) -> dict[str, torch.Tensor]:
    return {name: part.inter_feat[name][:] for name in part.inter_feat}


def training_clicks(parts: list[Any]) -> dict[tuple[int, float], tuple[int, float]]:
    """Return item and truth of each training click by user and time, first clicks included."""
    feat = parts[0].inter_feat
    names = ["user_id", "timestamp", "item_id", "is_noise"]
    if not hasattr(feat.interaction, "base"):
        rows = zip(*(feat[name].tolist() for name in names))
        return {(user, time): (item, noise) for user, time, item, noise in rows}
    base = feat.interaction.base
    held = {int(t) for part in parts[1:] for t in part.inter_feat.interaction.target}
    rows = enumerate(zip(*(base.columns[name][:-1].tolist() for name in names)))
    return {(u, t): (item, noise) for row, (u, t, item, noise) in rows if row not in held}


def test_nothing_is_planted_by_default() -> None:
    config = DenoisingConfig("BPR", "tiny", config_dict=settings())
    assert (config["plant"], config["plant_seed"], config["plant_items"]) == (None, 2020, 30)
    parts: list[Any] = [object(), object(), object()]
    assert plant(config, parts) is parts
    assert "is_noise" not in parts_of("SASRec", None)[0].inter_feat


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", [*KINDS, ALL])
def test_what_is_planted_and_what_stays(model: str, kind: str) -> None:
    spec = kind if ":" in kind else f"{kind}:0.3"
    plain = [columns_of(part) for part in parts_of(model, None)]
    planted = [columns_of(part) for part in parts_of(model, spec)]
    for before, after in zip(plain[1:], planted[1:]):
        for name in ("user_id", "item_id", "timestamp"):
            assert torch.equal(before[name], after[name]), name
        assert after["is_noise"].tolist() == [0.0] * len(after["item_id"])
    before, after = plain[0], planted[0]
    true, noise = after["is_noise"] == 0, after["is_noise"] == 1
    assert (true | noise).all()
    assert noise.any()
    assert int(after["item_id"].min()) > 0
    if "insert" in spec:
        assert len(after["item_id"]) == len(before["item_id"]) + round(float(spec[-3:]) * 211)
    else:
        assert torch.equal(before["item_id"] != after["item_id"], noise)
        for name in ("user_id", "timestamp"):
            assert torch.equal(before[name], after[name])
    if kind == "insert":
        for name in ("user_id", "item_id", "timestamp"):
            assert torch.equal(before[name], after[name][true]), name


@pytest.mark.parametrize("model", [m for m in MODELS if m != "BPR"])
@pytest.mark.parametrize("spec", ["insert:0.3", ALL])
def test_later_histories_show_it(model: str, spec: str) -> None:
    """By time, a user's targets of all parts are the sequence that every history is cut from."""
    parts = parts_of(model, spec)
    windows = [
        (u, t, number, i, length, history)
        for part in parts
        for columns in [columns_of(part)]
        for number, (u, t, i, length, history) in enumerate(
            zip(
                *(
                    columns[name].tolist()
                    for name in ("user_id", "timestamp", "item_id", "item_length", "item_id_list")
                )
            )
        )
    ]
    by_user = defaultdict(list)
    for window in sorted(windows, key=lambda w: w[:3]):
        by_user[window[0]].append(window)
    longest = 0
    for sequence in by_user.values():
        items = [sequence[0][5][0], *(window[3] for window in sequence)]
        for number, (*_, length, history) in enumerate(sequence, start=1):
            assert length == min(number, LENGTH)
            assert history == items[number - length : number] + [0] * (LENGTH - length)
            longest = max(longest, number)
    assert longest > LENGTH


def test_times_of_inserted_clicks_lie_between() -> None:
    for model in ("SASRec", "BPR"):
        clicks = training_clicks(parts_of(model, "insert:0.3"))
        for (user, time), (_, noise) in clicks.items():
            if noise:
                assert time != int(time)
                assert (user, float(int(time))) in clicks
                assert (user, float(int(time) + 1)) in clicks


@pytest.mark.parametrize("model", ["SASRec", "WideDeep"])
def test_added_windows_stand_before_the_next(model: str) -> None:
    """The order of training, by time, stays: an added window precedes the next of its user."""
    plain, planted = (parts_of(model, spec)[0].inter_feat for spec in (None, "insert:0.3"))
    users, times, noise = (planted[name].tolist() for name in ("user_id", "timestamp", "is_noise"))
    true = [row for row in zip(users, times, noise) if not row[2]]
    assert [row[:2] for row in true] == list(
        zip(plain["user_id"].tolist(), plain["timestamp"].tolist())
    )
    for row in (row for row, value in enumerate(noise) if value):
        following = next(later for later in range(row, len(noise)) if not noise[later])
        assert (users[following], times[following]) == (users[row], int(times[row]) + 1)


@pytest.mark.parametrize("spec", ["burst:0.5", "swap:0.4", "insert:0.5", ALL])
def test_rows_need_no_order(spec: str) -> None:
    """Shuffled rows of a general model get the noise of the same clicks."""
    names = ("user_id", "item_id", "timestamp")
    plain = parts_of("BPR", None)
    rows = plain[0].inter_feat
    mixed = torch.randperm(len(rows))
    config = DenoisingConfig("BPR", "tiny", config_dict=settings(plant=spec, plant_items=5))
    shuffled = plain[0].copy(Interaction({name: rows[name][mixed] for name in names}))
    sorted_, found = (plant(config, [part, *plain[1:]]) for part in (plain[0], shuffled))
    assert training_clicks(found) == training_clicks(sorted_)
    users, noise = found[0].inter_feat["user_id"], found[0].inter_feat["is_noise"]
    if spec.startswith("insert"):
        added = noise.nonzero().squeeze(1)
        assert torch.equal(users[added], users[added - 1])
        assert torch.equal(users[noise == 0], rows["user_id"][mixed])


@pytest.mark.parametrize("kind", KINDS)
def test_all_models_get_the_same_noise(kind: str) -> None:
    found = [training_clicks(parts_of(model, f"{kind}:0.3")) for model in MODELS]
    assert len(found[0]) == 211 + (63 if kind == "insert" else 0)
    assert all(other == found[0] for other in found[1:])
    count = sum(noise for _, noise in found[0].values())
    assert count == {"swap": 64, "users": count}.get(kind, 63)


def test_the_columns_that_follow() -> None:
    """Lists of the base follow; DIEN's negatives stay beside their clicks."""
    plain, planted = (parts_of("SASRec", spec)[2] for spec in (None, "uniform:0.5"))
    items, times = planted.inter_feat["item_id_list"][:], planted.inter_feat["timestamp_list"][:]
    assert (items != plain.inter_feat["item_id_list"][:]).float().mean() > 0.3
    assert torch.equal(times, plain.inter_feat["timestamp_list"][:])


def test_negatives_of_dien_stay_beside_their_clicks() -> None:
    plain, planted, grown = (
        parts_of("DIEN", spec)[2].inter_feat for spec in (None, "uniform:0.5", "insert:0.5")
    )
    (negatives,) = (name for name in plain if name.startswith("neg_") and name.endswith("_list"))
    assert torch.equal(plain[negatives][:], planted[negatives][:])
    assert planted["item_id_list"][:].dtype == plain["item_id_list"][:].dtype
    before, after = (feat.interaction.base for feat in (plain, grown))
    true = after.columns["is_noise"] == 0
    assert torch.equal(after.histories[negatives].values[true], before.histories[negatives].values)
    assert len(true) == len(after.histories[negatives].values) > int(true.sum())


@pytest.mark.parametrize("model", ["SASRec", "WideDeep"])
def test_whole_users_of_other_parts_stay(model: str) -> None:
    split = {"split": {"US": [3, 1, 1]}, "order": "TO", "mode": "full"}
    plain, planted = (parts_of(model, s, eval_args=split) for s in (None, "uniform:0.5"))
    for before, after in zip(plain[1:], planted[1:]):
        for name in ("user_id", "item_id", "item_id_list"):
            assert torch.equal(before.inter_feat[name][:], after.inter_feat[name][:])
    first = plain[0].inter_feat["item_id_list"][:, 0], planted[0].inter_feat["item_id_list"][:, 0]
    assert 0.3 < float((first[0] != first[1]).float().mean()) < 0.7


@pytest.mark.parametrize("model", ["SASRec", "WideDeep", "BPR"])
@pytest.mark.parametrize("split", [
    RATIO,
    {**RATIO, "split": {"TS": [3, 1, 1]}},
    {**LEAVE_ONE_OUT, "split": {"LS": "test_only"}, "mode": "full"},
])  # fmt: skip
@pytest.mark.parametrize("spec", ["popular:0.4", "insert:0.4"])
def test_other_splits(model: str, split: dict[str, Any], spec: str) -> None:
    changes = {"eval_args": split}
    if "LS" in split["split"]:
        changes["valid_metric"] = "NDCG@10"
    plain, planted = (parts_of(model, s, **changes) for s in (None, spec))
    for before, after in zip(plain[1:], planted[1:]):
        assert torch.equal(before.inter_feat["item_id"], after.inter_feat["item_id"])
    clicks = training_clicks(planted)
    noise = sum(noise for _, noise in clicks.values())
    true = len(clicks) - (noise if "insert" in spec else 0)
    assert noise == round(0.4 * true)


def test_shuffled_rows() -> None:
    """With order RO training clicks lie among those of other parts."""
    split = {"split": {"RS": [3, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"}
    for spec in ("swap:0.4", "insert:0.4", "burst:0.4"):
        plain, planted = (parts_of("WideDeep", s, eval_args=split) for s in (None, spec))
        for before, after in zip(plain[1:], planted[1:]):
            for name in ("user_id", "item_id", "timestamp"):
                assert torch.equal(before.inter_feat[name], after.inter_feat[name])
            assert not after.inter_feat["is_noise"].any()
        assert planted[0].inter_feat["is_noise"].sum() > 30


def test_seeds() -> None:
    found = {
        (run, own): training_clicks(parts_of("SASRec", ALL, seed=run, plant_seed=own))
        for run, own in ((7, 1), (8, 1), (7, 2))
    }
    assert found[7, 1] == found[8, 1]
    assert found[7, 1] != found[7, 2]


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_global_random_states_are_not_touched(model: str) -> None:
    plain = parts_of(model, None)
    config = DenoisingConfig(model, "tiny", config_dict=settings(plant=ALL, plant_items=5))
    before = random.getstate(), copy.deepcopy(np.random.get_state()), torch.get_rng_state()
    items = [part.inter_feat["item_id"].clone() for part in plain]
    plant(config, plain)
    assert random.getstate() == before[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1]))
    assert torch.equal(torch.get_rng_state(), before[2])
    for part, item in zip(plain, items):  # what was given is as it was
        assert torch.equal(part.inter_feat["item_id"], item)
        assert "is_noise" not in part.inter_feat


def test_samplers_know_the_noise() -> None:
    _, (loader, valid, _), _ = assemble("BPR", plant="uniform:0.5")
    rows = loader._dataset.inter_feat
    for user in range(1, 31):
        planted = set(rows["item_id"][rows["user_id"] == user].tolist())
        assert loader._sampler.used_ids[user] == planted
    # what is not ranked for validation: the user's clicks, noise included
    assert set(valid.uid2history_item[1].tolist()) <= set(
        rows["item_id"][rows["user_id"] == 1].tolist()
    )


@pytest.mark.parametrize("model", ["WideDeep", "DIN", "SASRec"])
def test_the_truth_is_no_feature(model: str) -> None:
    _, (loader, _, _), built = assemble(model, plant="uniform:0.3")
    assert next(iter(loader))["is_noise"].is_floating_point()
    fields = getattr(built, "field_names", [])
    assert ("item_id" in fields) == (model == "WideDeep")
    assert "is_noise" not in fields
    assert "is_noise" not in loader._dataset.fields()
    assert loader._dataset.num("is_noise") == 1


def write_marked(kind: str = "float") -> str:
    """Write the tiny data with a column ``is_noise`` that marks every third click."""
    lines = (Path(data_path()) / "tiny" / "tiny.inter").read_text().splitlines()
    rows = [f"{line}\t{int(number % 3 == 0)}" for number, line in enumerate(lines[1:])]
    folder = Path("marked/tiny")
    folder.mkdir(parents=True)
    header = f"{lines[0]}\tis_noise:{kind}"
    (folder / "tiny.inter").write_text("\n".join([header, *rows]) + "\n")
    return str(Path("marked").resolve())


@pytest.mark.parametrize("model", ["SASRec", "WideDeep", "BPR"])
@pytest.mark.parametrize("kind", ["float", "token"])
def test_a_column_of_the_data_is_replaced(model: str, kind: str) -> None:
    keys = {"data_path": write_marked(kind), "load_col": None}
    own, planted = (parts_of(model, spec, **keys) for spec in (None, "uniform:0.3"))
    expected = parts_of(model, "uniform:0.3")
    for part, wanted in zip(planted, expected):
        assert torch.equal(part.inter_feat["is_noise"], wanted.inter_feat["is_noise"])
        assert "is_noise" not in part.fields()
    assert own[1].inter_feat["is_noise"].any()
    if model == "SASRec":
        columns = planted[2].inter_feat
        assert columns["is_noise_list"][:].shape == columns["item_id_list"][:].shape
        changed = columns["item_id_list"][:] != own[2].inter_feat["item_id_list"][:]
        assert torch.equal(columns["is_noise_list"][:] == 1, changed)


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_clean_evaluation_reads_the_data(model: str) -> None:
    keys = {"data_path": write_marked(), "load_col": None, "eval_args": RATIO}
    everything = parts_of(model, "uniform:0.3", **keys)
    clean = parts_of(model, "uniform:0.3", clean_eval={"is_noise": "[0,0]"}, **keys)
    own = parts_of(model, None, clean_eval={"is_noise": "[0,0]"}, **keys)
    for part, wanted in zip(clean[1:], own[1:]):
        assert torch.equal(part.inter_feat["item_id"], wanted.inter_feat["item_id"])
    assert len(clean[2]) < len(everything[2])
    assert torch.equal(clean[0].inter_feat["is_noise"], everything[0].inter_feat["is_noise"])


@pytest.mark.parametrize(
    ("model", "more"),
    [("SASRec", {}), ("GRU4Rec", {}), ("SASRec", {"loss_type": "BCE"}), ("WideDeep", {}),
     ("DIN", {}), ("BPR", {})],
)  # fmt: skip
def test_a_run_reports_weights_of_true_and_false_positives(model: str, more: Any) -> None:
    before = fingerprint(Path(data_path()))
    eval_args = {**LEAVE_ONE_OUT, "mode": "full"}
    keys = {"epochs": 1, "plant": ALL, "plant_items": 5, "eval_args": eval_args, **more}
    load = {"inter": ["user_id", "item_id", "rating", "timestamp"]}  # clean_eval is not the truth
    clean = {"rating": "[2,inf)"}
    run, _ = train(model, "r_ce", clean_eval=clean, load_col=load, **keys)
    noise = parts_of(model, ALL)[0].inter_feat["is_noise"]
    (file,) = Path("out").rglob("result.json")
    weights = json.loads(file.read_text())["runs"][0]["weights"]
    assert weights["false_positive"]["count"] == int(noise.sum()) > 20
    assert weights["true_positive"]["count"] == int((noise == 0).sum()) > 20
    assert run.weights is not None
    assert 0 < run.weights["false_positive"]["mean"] <= 1.5
    assert fingerprint(Path(data_path())) == before


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"plant": "unifrom:0.3"}, "kind 'unifrom' is unknown, did you mean 'uniform'?"),
        ({"plant": "uniform:1.5"}, "the share of uniform is '1.5'; it must be a number inside"),
        ({"plant": "uniform:0.6,swap:0.5"}, "the shares sum to 1.1, above 1"),
        ({"plant": "uniform:0.3", "plant_seed": -1}, "plant_seed=-1 is out of range"),
        ({"plant_items": 0}, "plant_items=0 is out of range"),
    ],
)
def test_a_config_with_wrong_values(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        DenoisingConfig("BPR", "tiny", config_dict=settings(**changes))
    assert line in str(caught.value)


def test_more_bait_than_items() -> None:
    config = DenoisingConfig("BPR", "tiny", config_dict=settings(plant="clickbait:0.3"))
    with pytest.raises(UsageError, match="plant_items=30 is out of range: 16 items lie"):
        recbole_atjt.prepare_loaders(config, recbole_atjt.create_dataset(config))


def test_ready_lists_are_refused() -> None:
    folder = Path("ready/tiny")
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        (folder / f"tiny.{part}.inter").write_text(
            "user_id:token\titem_id:token\titem_id_list:token_seq\nu\ta\tb c\nv\tb\ta c\n"
        )
    keys = settings(plant="uniform:0.5", data_path="ready", load_col=None,
                    benchmark_filename=["train", "valid", "test"],
                    alias_of_item_id=["item_id_list"])  # fmt: skip
    config = DenoisingConfig("GRU4Rec", "tiny", config_dict=keys)
    with pytest.raises(UsageError, match="histories that are ready lists"):
        recbole_atjt.prepare_loaders(config, recbole_atjt.create_dataset(config))
