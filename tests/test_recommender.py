"""Recommendations from a checkpoint alone: those of RecBole's model, by token, and nothing else."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recbole_atjt
from recbole_atjt import Recommender, TrainingError, UsageError
from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint
from recbole_atjt.serving import ranking
from recbole_atjt.serving.inputs import Input, InputMaker, Signature
from recbole_atjt.serving.ranking import Encoded, rank
from tests.served import Served, serve
from tests.tiers import fast

MODELS = ["SASRec", "BPR", "MF", "AEL", "WideDeep", "DIN", "S3Rec", "LightGCN", "DCN", "FEARec",
          "GRU4Rec", "BERT4Rec"]  # fmt: skip


@pytest.fixture(scope="module")
def sasrec(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve("SASRec", tmp_path_factory.mktemp("sasrec"))


@pytest.fixture(scope="module")
def bpr(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve("BPR", tmp_path_factory.mktemp("bpr"))


@pytest.fixture(scope="module")
def widedeep(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve("WideDeep", tmp_path_factory.mktemp("widedeep"))


def best_of(
    scores: torch.Tensor, tokens: list[str], k: int, without: list[str]
) -> list[tuple[str, float]]:
    """Return the best items of one query by a plain loop."""
    pairs = [(float(score), token) for score, token in zip(scores, tokens)][1:]
    pairs = sorted((pair for pair in pairs if pair[1] not in without), reverse=True)
    return [(token, score) for score, token in pairs[:k]]


@pytest.mark.parametrize("model", fast(MODELS, ["SASRec", "AEL", "WideDeep"]))
def test_it_recommends_what_the_model_ranks_first(model: str, tmp_path: Path) -> None:
    served = serve(model, tmp_path)
    users = list(served.clicks)[:4]
    recommender = Recommender.load(served.path)
    named: dict[str, Any] = {"users": users}
    scores, tokens = served.scores(users)
    for exclude_seen in (False, True):
        found = recommender.recommend(k=7, exclude_seen=exclude_seen, **named)
        for user, row, answer in zip(users, scores, found):
            without = served.clicks[user] if exclude_seen else []
            expected = best_of(row, tokens, 7, without)
            assert [each.score for each in answer] == pytest.approx(
                [score for _, score in expected], abs=1e-5
            )
            by_token = dict(zip(tokens, row.tolist()))
            for each in answer:  # ties may stand in any order
                assert each.score == pytest.approx(by_token[each.item], abs=1e-5)
            assert not {each.item for each in answer} & {*without, "[PAD]"}
            assert len({each.item for each in answer}) == 7


def test_a_history_stands_for_a_user_and_titles_are_named(sasrec: Served) -> None:
    recommender = Recommender.load(str(sasrec.path))
    by_user = recommender.recommend(users=["u3"], k=5)
    by_history = recommender.recommend([sasrec.clicks["u3"]], 5)
    assert by_user == by_history
    assert [each.title for each in by_user[0]] == [f"Title, the {e.item[1:]}." for e in by_user[0]]
    other = recommender.recommend([sasrec.clicks["u4"]], 5, users=["u3"])
    assert other == recommender.recommend(users=["u4"], k=5)
    seen = {*sasrec.clicks["u3"], *sasrec.clicks["u4"]}
    both = recommender.recommend([sasrec.clicks["u4"]], 40, True, users=["u3"])
    assert {each.item for each in both[0]} == {*recommender.catalogue.items[1:]} - seen


def test_more_items_than_there_are(sasrec: Served) -> None:
    recommender = Recommender.load(sasrec.path)
    (found,) = recommender.recommend(users=["u0"], k=1000)
    assert sorted(each.item for each in found) == sorted(recommender.catalogue.items[1:])
    assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)


def test_only_the_last_items_of_a_history_are_read(sasrec: Served) -> None:
    recommender = Recommender.load(sasrec.path)
    items = recommender.catalogue.items[1:]
    long = items[:25]
    assert recommender.recommend([long], 5) == recommender.recommend([long[-10:]], 5)


def test_what_is_unknown_is_left_out_and_counted(
    sasrec: Served, caplog: pytest.LogCaptureFixture
) -> None:
    recommender = Recommender.load(sasrec.path)
    item = sasrec.clicks["u0"][0]
    with caplog.at_level(logging.WARNING):
        found = recommender.recommend([[item, "?", "?"], ["?"], [item], ["[PAD]"]], 3)
    assert found[0] == found[2]
    assert found[1] == found[3] == []
    assert found.unknown.items == {"?": 3, "[PAD]": 1}
    assert found.unknown.empty == [2, 4]
    assert [record.message for record in caplog.records] == [
        "2 items are unknown to the model (?, [PAD]; 4 times): left out",
        "2 queries have no known click, number 2 the first: no recommendations for them",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = recommender.recommend(users=["u0", "nobody"], k=3)
    assert (len(found[0]), found[1]) == (3, [])
    assert [record.message for record in caplog.records] == [
        "1 user is unknown to the model (nobody; 1 time): no recommendations for them"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs histories, users or both"),
        ({"users": "u0"}, r"users='u0' is no list: write \['u0'\]"),
        ({"histories": ["i0", "i1"]}, "histories='i0'... is no list of histories"),
        ({"histories": "i0"}, "is no list of histories"),
        ({"histories": [[]], "users": ["u0", "u1"]}, "1 histories and 2 users do not go together"),
        ({"users": ["u0"], "k": 0}, "k=0 is not a whole number of at least 1"),
        ({"users": ["u0"], "k": 2.5}, r"k=2\.5 is not"),
        ({"users": ["u0"], "k": True}, "k=True is not"),
    ],
)
def test_wrong_calls(sasrec: Served, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recommender.load(sasrec.path).recommend(**given)


def test_what_a_model_cannot_answer(bpr: Served, widedeep: Served) -> None:
    general = Recommender.load(bpr.path)
    with pytest.raises(UsageError, match="BPR knows users by their ids, not by a history alone"):
        general.recommend([["i0"]])
    with pytest.raises(UsageError, match="model=BPR reads no history: name users alone"):
        general.recommend([["i0"]], users=["u0"])
    with pytest.raises(UsageError, match=r"WideDeep knows .*: name a user beside the history"):
        Recommender.load(widedeep.path).recommend([["i0"]])


def test_it_scores_no_more_at_once_than_it_says(
    widedeep: Served, sasrec: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any size of the chunks gives the same, and memory is that of a chunk."""
    for served in (widedeep, sasrec):
        recommender = Recommender.load(served.path)
        users = list(served.clicks)
        expected = recommender.recommend(users=users, k=6, exclude_seen=True)
        sizes: list[int] = []
        scorer = recommender._scorer

        class Watched:
            signature = scorer.signature

            def __call__(self, batch: Any) -> Any:
                scores = scorer(batch)  # noqa: B023
                sizes.append(scores.numel())  # noqa: B023
                return scores

        monkeypatch.setattr(recommender, "_scorer", Watched())
        n_items = len(recommender.catalogue.items)
        for scores, rows in ((1, 7), (2 * n_items, 3 * n_items + 5)):
            monkeypatch.setattr(ranking, "SCORES", scores)
            monkeypatch.setattr(ranking, "ROWS", rows)
            sizes.clear()
            found = recommender.recommend(users=users, k=6, exclude_seen=True)
            assert [[each.item for each in answer] for answer in found] == [
                [each.item for each in answer] for answer in expected
            ]
            assert max(sizes) <= max(scores, n_items)


def test_scores_that_are_not_numbers() -> None:
    signature = Signature((Input("user_id", "user", (), True),), True, 1)

    class Broken:
        def __init__(self) -> None:
            self.signature = signature

        def __call__(self, batch: Any) -> torch.Tensor:
            return torch.full((len(batch["user_id"]), 4), torch.nan)

    maker: Any = InputMaker(signature, None)  # type: ignore[arg-type]
    empty = np.zeros(0, dtype=np.int32)
    with pytest.raises(TrainingError, match="scores that are not numbers"):
        list(rank(Broken(), maker, 4, [Encoded(1, empty, empty)], 2))


def test_bce_and_a_strategy_leave_a_bare_model(tmp_path: Path) -> None:
    served = serve(
        "SASRec",
        tmp_path,
        "atjt",
        loss_type="BCE",
        train_neg_sample_args={"distribution": "uniform", "sample_num": 1},
    )
    (found,) = Recommender.load(served.path).recommend(users=["u1"], k=3)
    scores, tokens = served.scores(["u1"])
    assert [each.item for each in found] == [t for t, _ in best_of(scores[0], tokens, 3, [])]


SOURCE = """
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn


class Mean(SequentialRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, 4, padding_idx=0)
        self.loss_fct = nn.CrossEntropyLoss()

    def calculate_loss(self, interaction):
        return self.loss_fct(self.full_sort_predict(interaction), interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction):
        return self.item_embedding(interaction[self.ITEM_SEQ]).sum(1) @ self.item_embedding.weight.T
"""


def test_a_model_from_outside_is_named_by_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("their_served.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    served = serve("their_served:Mean", tmp_path, loss_type="CE")
    with pytest.raises(UsageError, match=r"is of model=Mean, which is none .*model=module:Class"):
        Recommender.load(served.path)
    with pytest.raises(UsageError, match="is of model=Mean, not of GRU4Rec"):
        Recommender.load(served.path, "GRU4Rec")
    found = Recommender.load(served.path, "their_served:Mean").recommend(users=["u1"], k=3)
    assert len(found[0]) == 3
    monkeypatch.delitem(sys.modules, "their_served")


def test_files_that_serve_nothing(sasrec: Served, tmp_path: Path) -> None:
    found = load_checkpoint(sasrec.path)
    old = tmp_path / "old.safetensors"
    meta = {key: value for key, value in found.meta.items() if key != "catalogue"}
    save_checkpoint(old, found.model_state, meta=meta)
    with pytest.raises(UsageError, match=r"holds no names of items: .* train again with this one"):
        Recommender.load(old)
    last = tmp_path / "SASRec.last.safetensors"
    save_checkpoint(last, found.model_state, meta=meta)
    with pytest.raises(UsageError, match=r"is what a resume reads.* without \.last"):
        Recommender.load(last)
    with pytest.raises(UsageError, match="which runs code when it is loaded"):
        Recommender.load(tmp_path / "some.pt2")
    with pytest.raises(UsageError, match="no checkpoint file"):
        Recommender.load(tmp_path / "none.safetensors")
    for broken in ({}, {"users": 5}, {**found.meta["catalogue"], "clicks": None}):
        save_checkpoint(old, found.model_state, meta={**meta, "catalogue": broken})
        with pytest.raises(UsageError, match="has not the form of a checkpoint"):
            Recommender.load(old)


def test_a_stage_that_is_not_the_last_serves_nothing(tmp_path: Path) -> None:
    served = serve("AEL", tmp_path)
    found = load_checkpoint(served.path)
    meta = {**found.meta, "stage": {"name": "large", "first_epoch": 0}}
    save_checkpoint(served.path, found.model_state, meta=meta)
    with pytest.raises(UsageError, match="was kept in stage large, before gate"):
        Recommender.load(served.path)


def test_a_model_that_reads_the_click_itself_cannot_serve(tmp_path: Path) -> None:
    """A column of interactions is known only once somebody has clicked."""
    from tests import served as module

    clicks = module.write_shop(tmp_path / "data")
    file = tmp_path / "data" / "shop" / "shop.inter"
    header, *rows = file.read_text().splitlines()
    rows = [f"{row}\t{'abc'[number % 3]}" for number, row in enumerate(rows)]
    file.write_text("\n".join([f"{header}\tdevice:token", *rows]) + "\n")
    keys = module.keys_of("FM", tmp_path / "data")
    keys["load_col"] = {"inter": ["user_id", "item_id", "timestamp", "device"]}
    result = recbole_atjt.run("FM", "shop", "none", config_dict=keys, output_dir=tmp_path / "o")
    assert clicks
    with pytest.raises(UsageError, match="FM can't serve: it reads 'device' of the click itself"):
        Recommender.load(result.runs[0].checkpoint)


def test_the_name_is_loaded_when_it_is_asked_for() -> None:
    assert recbole_atjt.Recommender is Recommender
    with pytest.raises(AttributeError, match="no attribute 'Recommendr'"):
        recbole_atjt.Recommendr  # noqa: B018
