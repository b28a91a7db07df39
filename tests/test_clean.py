"""Clean evaluation against naive loops and RecBole's own intervals; refusals in one line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_atjt import DenoisingConfig, create_dataset, prepare_loaders
from recbole_atjt.data.clean import Interval, Truth, read_intervals
from recbole_atjt.errors import UsageError
from recbole_atjt.settings.resources import properties_path
from tests.runs import train
from tests.tiers import fast

HEADER = "user_id:token item_id:token rating:float timestamp:float is_noise:float mood:token"
CHRONOLOGICAL = {"split": {"RS": [4, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}
LEAVE_ONE_OUT = {**CHRONOLOGICAL, "split": {"LS": "valid_and_test"}}
CLEAN = {"rating": "[3,inf)"}


def write(name: str, rows: list[tuple[Any, ...]], part: str = "") -> None:
    file = Path("dataset") / name / f"{name}{part}.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in [HEADER.split(), *rows]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_rated(name: str = "rated", users: int = 15, items: int = 25) -> list[tuple[Any, ...]]:
    """Write users of 6 to 17 interactions, rated 0.5 to 5; return them in order of time."""
    draw = np.random.default_rng(11)
    rows = []
    for user in range(users):
        for time, item in enumerate(draw.choice(items, 6 + user % 12, replace=False)):
            rating = draw.integers(1, 11) / 2
            noise = int(rating < 3)
            rows.append((f"u{user}", f"i{item}", rating, 100 * user + time, noise, "ab"[user % 2]))
    write(name, [rows[row] for row in draw.permutation(len(rows))])
    return rows


def configure(model: str = "GRU4Rec", dataset: str = "rated", **changes: Any) -> DenoisingConfig:
    given: dict[str, Any] = {
        "data_path": "dataset",
        "eval_args": CHRONOLOGICAL,
        "MAX_ITEM_LIST_LENGTH": 5,
        "metrics": ["Hit", "Recall"],
        "valid_metric": "Hit@10",
        "gpu_id": "",
        **changes,
    }
    return DenoisingConfig(model, dataset, config_dict=given)


def loaders_of(*args: Any, **changes: Any) -> tuple[Any, Any, Any]:
    config = configure(*args, **changes)
    return prepare_loaders(config, create_dataset(config))


def columns_of(loader: Any) -> dict[str, torch.Tensor]:
    """Return every column of a part as RecBole would hold it."""
    return {name: loader.dataset.inter_feat[name][:] for name in loader.dataset.inter_feat}


def refusal(*args: Any, **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        loaders_of(*args, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ENDS = st.floats(-3, 3).map(lambda x: round(x, 1))
TEXTS = st.lists(
    st.tuples(st.sampled_from("(["), ENDS, ENDS, st.sampled_from(")]")).filter(
        lambda t: t[1] < t[2] or (t[1] == t[2] and t[0] + t[3] == "[]")
    ),
    min_size=1,
    max_size=3,
).map(lambda all_: ";".join(f"{a}{x}, {y}{b}" for a, x, y, b in all_))


@given(TEXTS, st.lists(ENDS, min_size=1))
def test_intervals_are_those_of_val_interval(text: str, values: list[float]) -> None:
    column = torch.tensor([*values, float("inf"), -float("inf")])
    expected = Dataset._within_intervals(
        None, column.numpy(), Dataset._parse_intervals_str(None, text)
    )
    found = Truth(read_intervals({"x": text})).holds(Interaction({"x": column}))
    assert found is not None
    assert found.tolist() == expected.tolist()


def test_ends_of_intervals() -> None:
    values = torch.tensor([2.9, 3, 3.3, 4, float("inf"), float("nan")])
    kept = {
        "[3,inf)": [0, 1, 1, 1, 0, 0],
        "(3,4)": [0, 0, 1, 0, 0, 0],
        "[3.3,3.3]": [0, 0, 1, 0, 0, 0],
        "(-inf,3);[4,inf]": [1, 0, 0, 1, 1, 0],
        "[0, 3]": [1, 1, 0, 0, 0, 0],
    }
    for text, expected in kept.items():
        ((_, intervals),) = read_intervals({"x": text}).items()
        assert sum(i.holds(values).int() for i in intervals).tolist() == expected, text
    assert read_intervals({"x": [0, 0]}) == {"x": (Interval(0, 0),)}


def naive_targets(rows: list[tuple[Any, ...]], least: float) -> list[list[tuple[str, str]]]:
    """Split each user's windows 4:1:1 in time; after training, drop targets rated too low."""
    parts: list[list[tuple[str, str]]] = [[], [], []]
    for user in sorted({row[0] for row in rows}):
        windows = [row for row in rows if row[0] == user][1:]
        share = len(windows) / 6
        last = int(share) or (1 if share > 0 else 0)
        first = len(windows) - 2 * last
        for row in windows[:first]:
            parts[0].append(row[:2])
        for part, chunk in ((1, windows[first : first + last]), (2, windows[first + last :])):
            parts[part] += [row[:2] for row in chunk if row[2] >= least]
    return [sorted(part) for part in parts]


@pytest.mark.parametrize("model", ["GRU4Rec", "MF", "WideDeep", "DIEN"])
def test_targets_of_windows_by_a_naive_loop(model: str) -> None:
    rows = write_rated()
    found = []
    for loader in loaders_of(model, clean_eval=CLEAN):
        dataset, columns = loader.dataset, columns_of(loader)
        users = dataset.id2token("user_id", columns["user_id"])
        items = dataset.id2token("item_id", columns["item_id"])
        found.append(sorted(zip(users.tolist(), items.tolist())))
    assert found == naive_targets(rows, 3)
    assert found != naive_targets(rows, 0)


@pytest.mark.parametrize("eval_args", [CHRONOLOGICAL, LEAVE_ONE_OUT], ids=["RS", "LS"])
@pytest.mark.parametrize("model", fast(["GRU4Rec", "WideDeep", "BPR"]))
@pytest.mark.parametrize("clean", [CLEAN, {"is_noise": "[0,0]"}, {"rating": "[3,4)", **{
    "is_noise": [0, 0], "timestamp": "(-inf,600];(700,inf)"}}])  # fmt: skip
def test_only_rows_of_validation_and_test_go(
    model: str, eval_args: dict[str, Any], clean: dict[str, Any]
) -> None:
    """What remains is the plain split's rows in their order, histories included."""
    write_rated()
    plain = [columns_of(x) for x in loaders_of(model, eval_args=eval_args)]
    found = [columns_of(x) for x in loaders_of(model, eval_args=eval_args, clean_eval=clean)]
    for phase, (before, after) in enumerate(zip(plain, found)):
        keep = torch.ones(len(before["user_id"]), dtype=torch.bool)
        if phase:
            keep &= before["rating"] >= 3
            if "timestamp" in clean:
                time = before["timestamp"]
                keep &= (before["rating"] < 4) & ((time <= 600) | (time > 700))
            assert 0 < keep.sum() < len(keep)
        assert before.keys() == after.keys()
        for name, column in before.items():
            assert torch.equal(column[keep], after[name]), name


def test_histories_keep_what_is_dropped() -> None:
    ratings = {"a": [5, 1, 4, 2, 5, 5], "b": [5, 1, 4, 2, 1, 5]}
    write(
        "rated",
        [
            (user, f"i{n}", r, n, 0, "x")
            for user, given in ratings.items()
            for n, r in enumerate(given)
        ],
    )
    thirds = {**CHRONOLOGICAL, "split": {"RS": [1, 1, 1]}}
    _, valid, test = loaders_of(eval_args=thirds, clean_eval=CLEAN)
    columns, tokens = columns_of(test), test.dataset.field2id_token["item_id"]
    assert [tokens[row].tolist() for row in columns["item_id_list"]] == [
        ["i0", "i1", "i2", "i3", "i4"]
    ] * 2
    assert tokens[columns["item_id"]].tolist() == ["i5", "i5"]
    assert columns_of(valid)["rating"].tolist() == [5]


def candidates(loader: Any, user: str) -> tuple[set[str], set[str]]:
    """Return what a full ranking of a user counts as positive and what it leaves out."""
    dataset = loader.dataset
    row = loader.uid_list.tolist().index(dataset.token2id("user_id", user))
    _, (_, history), _, positive = loader.collate_fn([row])
    tokens = dataset.field2id_token["item_id"]
    return {tokens[i] for i in positive}, {tokens[i] for i in history}


def test_rankings_of_general_models() -> None:
    """A dropped item is ranked in its own part; later, it is one that the user has had."""
    ratings = [5, 5, 5, 5, 4, 1, 5, 2]  # 4 for training, 2 for validation, 2 for test
    rows = [("a", f"i{n}", rating, n, 0, "x") for n, rating in enumerate(ratings)]
    write("rated", [*rows, *(("b", f"i{9 + n}", 5, n, 0, "x") for n in range(8))])
    eval_args = {**CHRONOLOGICAL, "split": {"RS": [2, 1, 1]}}
    _, valid, test = loaders_of("BPR", eval_args=eval_args, clean_eval=CLEAN)
    trained = {"i0", "i1", "i2", "i3"}
    assert candidates(valid, "a") == ({"i4"}, trained)
    assert candidates(test, "a") == ({"i6"}, {*trained, "i4", "i5"})


def test_sampling_for_training_is_untouched() -> None:
    write_rated()
    popular = {"distribution": "popularity", "sample_num": 1, "alpha": 1.0, "dynamic": False,
               "candidate_num": 0}  # fmt: skip
    given = {"train_neg_sample_args": popular}
    plain, clean = (loaders_of("BPR", clean_eval=key, **given)[0] for key in (None, CLEAN))
    assert plain._sampler.prob == clean._sampler.prob
    assert (plain._sampler.used_ids == clean._sampler.used_ids).all()


def test_ready_splits() -> None:
    parts = {
        ".train": [
            ("a", "x", 1, 1, 1, "x"),
            ("b", "x", 1, 1, 1, "x"),
            ("a", "z", 2, 2, 1, "x"),
            ("c", "q", 2, 2, 1, "x"),
        ],
        ".valid": [("a", "y", 1, 3, 1, "x"), ("b", "y", 5, 3, 0, "x")],
        ".test": [("b", "z", 3, 4, 0, "x"), ("a", "w", 2.5, 4, 1, "x")],
    }
    for part, rows in parts.items():
        write("ready", rows, part)
    for model, train_rows in (("GRU4Rec", 1), ("BPR", 4)):
        found = loaders_of(
            model, "ready", benchmark_filename=["train", "valid", "test"], clean_eval=CLEAN
        )
        assert [len(loader.dataset) for loader in found] == [train_rows, 1, 1]
    test = found[2].dataset
    assert test.id2token("item_id", test.inter_feat["item_id"].tolist()) == ["z"]


def test_ready_lists() -> None:
    header = "user_id:token item_id:token item_id_list:token_seq rating:float"
    parts = {
        "train": ["a y x 1", "b x z 1"],
        "valid": ["a x x,y 5", "b y z,x 2"],
        "test": ["a z x,y 2", "b x z,x,y 3"],
    }
    folder = Path("dataset/lists")
    folder.mkdir(parents=True)
    for part, rows in parts.items():
        lines = [row.replace(" ", "\t").replace(",", " ") for row in [header, *rows]]
        (folder / f"lists.{part}.inter").write_text("\n".join(lines) + "\n")
    found = loaders_of(
        "GRU4Rec",
        "lists",
        benchmark_filename=["train", "valid", "test"],
        alias_of_item_id=["item_id_list"],
        clean_eval=CLEAN,
    )
    assert [len(loader.dataset) for loader in found] == [2, 1, 1]
    assert columns_of(found[1])["item_length"].tolist() == [2]
    assert columns_of(found[2])["item_length"].tolist() == [3]


def test_columns_that_are_not_loaded_by_themselves() -> None:
    """Where a property file names the columns, ``clean_eval`` adds its own."""
    rows = [(f"u{n % 6}", f"i{n % 7}", 5, n, n % 2, "x") for n in range(60)]
    write("ml-20m", rows)
    assert "is_noise" not in configure(dataset="ml-20m")["load_col"]["inter"]
    found = configure(dataset="ml-20m", clean_eval={"is_noise": "[0,0]"})["load_col"]["inter"]
    assert found == ["user_id", "item_id", "rating", "timestamp", "is_noise"]


IMPOSSIBLE = {"clean_eval": {"rating": "[6,inf)"}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"clean_eval": 3}, 'clean_eval=3 is not of the form {rating: "[3,inf)"}'),
        ({"clean_eval": "{rating: [3,inf)}"}, 'is not of the form {rating: "[3,inf)"}, quoted'),
        ({"clean_eval": {"rating": 3}}, 'rating=3 is not an interval, such as "[3,inf)"'),
        ({"clean_eval": {"rating": "[3,inf"}}, "rating=[3,inf is not an interval"),
        ({"clean_eval": {"rating": "[low,high]"}}, "rating=[low,high] is not an interval"),
        ({"clean_eval": {"rating": "[nan,4]"}}, "rating=[nan,4] is not an interval"),
        ({"clean_eval": {"rating": None}}, "rating=None is not an interval"),
        ({"clean_eval": {"rating": "[4,3]"}}, "no number is in rating=[4,3]"),
        ({"clean_eval": {"rating": "(3,3]"}}, "no number is in rating=(3,3]"),
        (
            {"clean_eval": {"stars": "[3,inf)"}},
            "a column of clean_eval is 'stars', which is not in dataset/rated/rated.inter; "
            "the columns are user_id, item_id, rating",
        ),
        (
            {"clean_eval": CLEAN, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
            "is 'rating', which load_col or unload_col leaves out",
        ),
        (
            {"clean_eval": CLEAN, "unload_col": {"inter": ["rating"]}},
            "is 'rating', which load_col or unload_col leaves out",
        ),
        (
            {"clean_eval": {"mood": "[0,1]"}},
            "column 'mood' is of type token, and an interval needs one of numbers, mood:float",
        ),
        (
            {"clean_eval": CLEAN, "unused_col": {"inter": ["rating"]}},
            "column 'rating' is not in the interactions any more, since threshold or unused_col",
        ),
        (
            IMPOSSIBLE,
            "leaves nothing for valid and test of dataset 'rated', where rating lies in [0.5,5]",
        ),
        (
            {"clean_eval": {"rating": "[3,inf)", "is_noise": "[1,1]"}},
            "where rating lies in [0.5,5], is_noise lies in [0,1]",
        ),
    ],
)
@pytest.mark.parametrize("model", fast(["GRU4Rec", "BPR"]))
def test_refusals(model: str, changes: dict[str, Any], line: str) -> None:
    write_rated()
    assert line in refusal(model, **changes)


def test_one_empty_part_is_named() -> None:
    rows = [("a", f"i{n}", rating, n, 0, "x") for n, rating in enumerate([5, 5, 5, 5, 4, 2])]
    write("rated", [*rows, ("b", "i0", 1, 0, 0, "x")])
    line = refusal(eval_args=LEAVE_ONE_OUT, clean_eval=CLEAN)
    assert "leaves nothing for test of dataset 'rated', where rating lies in [2,2]" in line


def test_an_evaluation_of_clean_rows() -> None:
    """The metrics are those of the clean queries; training does not feel it."""
    write_rated()
    runs = {}
    for key in (None, CLEAN):
        keys = {"data_path": str(Path("dataset").resolve()), "load_col": None}
        source = Path("dataset/tiny/tiny.inter")
        source.parent.mkdir(exist_ok=True)
        source.write_text(Path("dataset/rated/rated.inter").read_text())
        runs[key is None] = train("GRU4Rec", "none", clean_eval=key, topk=[5], valid_metric="Hit@5",
                                  eval_args=CHRONOLOGICAL, **keys)  # fmt: skip
    (plain, plain_trainer), (clean, clean_trainer) = runs[True], runs[False]
    assert plain_trainer.train_loss_dict == clean_trainer.train_loss_dict
    assert plain.test != clean.test
    queries = len(loaders_of(clean_eval=CLEAN, eval_args=CHRONOLOGICAL)[2].dataset)
    hits = clean.test["hit@5"] * queries
    assert hits == pytest.approx(round(hits), abs=1e-6)


def ten_core(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    while True:
        users, items = (Counter(row[column] for row in rows) for column in (0, 1))
        kept = [row for row in rows if users[row[0]] >= 10 and items[row[1]] >= 10]
        if len(kept) == len(rows):
            return rows
        rows = kept


def test_the_protocol_of_autodenoise() -> None:
    written = write_rated(users=40, items=20)
    rows = ten_core(written)
    assert 0 < len(rows) < len(written)
    expected = naive_targets(rows, 3)
    path = properties_path() / "protocols" / "autodenoise.yaml"
    for model in ("SASRec", "GRU4Rec", "MF"):
        given = {"data_path": "dataset", "gpu_id": ""}
        config = DenoisingConfig(model, "rated", [str(path)], given)
        assert config["metrics"] == ["Precision", "Recall", "F1", "NDCG"]
        assert config["value_metrics"] == ["AUC"]
        loaders = prepare_loaders(config, create_dataset(config))
        assert [len(loader.dataset) for loader in loaders] == [len(part) for part in expected]
        histories = columns_of(loaders[2])["item_id_list"]
        assert histories.shape[1] == 10
        built = config.model_class(config, loaders[0].dataset)
        assert built.item_embedding.weight.shape[1] == 64


def rows_of(**columns: Any) -> Interaction:
    return Interaction({name: torch.tensor(values) for name, values in columns.items()})


def test_truth() -> None:
    config = {"clean_eval": {"rating": "[3,inf)", "price": "(0,2]"}}
    rows = rows_of(rating=[5.0, 3, 2.5, 4], price=[1.0, 3, 1, 2], is_noise=[1.0, 1, 0, 0])
    found = Truth.of(config).holds(rows)
    assert found is not None
    assert found.dtype == torch.bool
    assert found.tolist() == [True, False, False, True]
    assert Truth.of(config).holds(rows_of(rating=[5.0])) is None

    known = Truth.of({"clean_eval": None}).holds(rows)
    assert known is not None
    assert known.tolist() == [False, False, True, True]
    assert Truth.of({"clean_eval": None}).holds(rows_of(rating=[5.0])) is None
    assert Truth.of({"clean_eval": None}).holds(rows_of(is_noise=[1, 2])) is None  # token ids


def test_truth_of_training_batches() -> None:
    write_rated()
    config = configure(clean_eval=CLEAN)
    loader = prepare_loaders(config, create_dataset(config))[0]
    truth = Truth.of(config)
    for batch in loader:
        found = truth.holds(batch)
        assert found is not None
        assert torch.equal(found, batch["rating"] >= 3)
        assert torch.equal(found, batch["is_noise"] == 0)


@pytest.mark.parametrize("model", fast(["MF", "BPR"]))
def test_intervals_are_of_the_values_in_the_file(model: str) -> None:
    """RecBole's ml-100k scales ratings to 0 to 1; the interval and the error speak of 1 to 5."""
    keys = {"gpu_id": "", "epochs": 1, "show_progress": False, "train_batch_size": 4096}
    split = {"split": {"RS": [4, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}
    keys.update(eval_args=split, metrics=["Hit"], topk=[10], valid_metric="Hit@10")
    config = DenoisingConfig(model, "ml-100k", None, {**keys, "clean_eval": {"rating": "[3,inf)"}})
    dataset = create_dataset(config)
    train, _, test = prepare_loaders(config, dataset)
    assert dataset.normalized_ranges["rating"] == (1.0, 5.0)
    rows = (test.dataset if hasattr(test, "dataset") else test._dataset).inter_feat
    assert float(rows["rating"].min()) == 0.5
    truth = Truth.of(config, train._dataset).holds(train._dataset.inter_feat)
    assert truth is not None
    assert torch.equal(truth, train._dataset.inter_feat["rating"] >= 0.5)
    assert 0 < int(truth.sum()) < len(truth)
    config["clean_eval"] = {"rating": "[9,inf)"}
    with pytest.raises(UsageError, match=r"where rating lies in \[1,5\]$"):
        prepare_loaders(config, create_dataset(config))


def test_a_column_of_one_value_stays_inside_or_outside() -> None:
    assert bool(Interval(0, 0).scaled(0, 0).holds(torch.ones(1)))
    assert not bool(Interval(1, 5).scaled(0, 0).holds(torch.ones(1)))
    half_open = Interval(3, float("inf"), (True, False)).scaled(0.5, 5.0)
    values = torch.tensor([(x - 0.5) / 4.5 for x in (2.5, 3.0, 5.0)], dtype=torch.float64).float()
    assert half_open.holds(values).tolist() == [False, True, True]
