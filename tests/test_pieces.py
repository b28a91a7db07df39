"""Evaluation in pieces, and ranks that are counted: bit for bit RecBole's numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector
from recbole.trainer import Trainer

import recbole_atjt.evaluation.pieces as pieces
from recbole_atjt import DenoisingConfig, DenoisingTrainer, create_dataset, prepare_loaders
from recbole_atjt.errors import UsageError
from recbole_atjt.evaluation.pieces import in_pieces, pieces_of
from recbole_atjt.evaluation.ranks import RankCollector, mean_ranks
from recbole_atjt.model.table import find_model
from tests.runs import settings

INF = torch.inf
METRICS = ["AUC", "LogLoss", "MAE", "RMSE", "GAUC", "Hit", "NDCG", "MRR", "MAP", "Recall"]
METRICS += ["Precision", "F1", "ItemCoverage", "AveragePopularity", "GiniIndex"]
METRICS += ["ShannonEntropy", "TailPercentage"]
TABLES = ("rec.items", "rec.topk", "rec.meanrank")
RATIO = {"split": {"RS": [4, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}
LAST = {**RATIO, "split": {"LS": "valid_and_test"}}
#: Of the tiny dataset, the padding included.
ITEMS = 41


class Config(dict):  # type: ignore[type-arg]
    """What a collector reads."""

    def __init__(self, topk: int) -> None:
        super().__init__(
            eval_args={"mode": {"valid": "full", "test": "full"}},
            topk=[topk],
            device=torch.device("cpu"),
            metrics=["GAUC", "NDCG", "ItemCoverage"],
        )


def tables(kind: type[Collector], scores: torch.Tensor, *positives: torch.Tensor) -> list[Any]:
    collector = kind(Config(min(5, scores.shape[1] - 1)))
    before = scores.clone()
    collector.eval_batch_collect(scores, None, *positives)
    assert torch.equal(scores.nan_to_num(7.0), before.nan_to_num(7.0))
    return [collector.data_struct.get(name) for name in TABLES]


@pytest.mark.parametrize("levels", [2, 20, 10**6])
@pytest.mark.parametrize(("queries", "items"), [(1, 3), (30, 41), (700, 600), (3, 300_000)])
@pytest.mark.parametrize("each", [1, 4])
def test_tables_are_those_of_recbole(queries: int, items: int, each: int, levels: int) -> None:
    draw = torch.Generator().manual_seed(queries + items + each)
    scores = torch.randint(levels, (queries, items), generator=draw).float()
    scores[torch.rand(queries, items, generator=draw) < 0.2] = -INF
    scores[:, 0] = -INF
    query = torch.arange(queries).repeat_interleave(each)  # a positive may be named twice
    item = torch.randint(1, items, (len(query),), generator=draw)
    expected = tables(Collector, scores, query, item)
    for found, wanted in zip(tables(RankCollector, scores, query, item), expected):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


def test_scores_that_are_no_numbers_are_left_to_recbole() -> None:
    scores = torch.rand(4, 9, generator=torch.Generator().manual_seed(1))
    scores[:, 0], scores[2, 3:5] = -INF, torch.nan
    positives = torch.arange(4), torch.tensor([1, 2, 3, 4])
    for found, wanted in zip(*(tables(each, scores, *positives) for each in TWO)):
        assert torch.equal(found, wanted)


TWO = (RankCollector, Collector)


def test_mean_ranks_worked_by_hand() -> None:
    # Of 5, 3, 3, 1 the threes share the ranks 2 and 3; two of five candidates are excluded below.
    scores = torch.tensor([[-INF, 3.0, 5.0, 3.0, 1.0], [-INF, 2.0, -INF, -INF, 2.0]])
    ranks, candidates = mean_ranks(scores, torch.tensor([0, 0, 1]), torch.tensor([1, 4, 4]))
    assert ranks.tolist() == [2.5, 4.0, 1.5]
    assert candidates.tolist() == [4, 2]


def test_pieces_put_together_are_the_batch() -> None:
    from recbole.data.interaction import Interaction

    rows = Interaction({"user_id": torch.arange(7)})
    unranked = torch.tensor([6, 0, 3, 3]), torch.tensor([1, 2, 3, 4])
    positives = torch.tensor([0, 1, 2, 2, 3, 4, 5, 6]), torch.arange(8)
    found = list(pieces_of((rows, unranked, *positives), 3))
    assert [len(piece[0]) for piece in found] == [3, 3, 1]
    assert [piece[0]["user_id"].tolist() for piece in found] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [piece[1][0].tolist() for piece in found] == [[0], [0, 0], [0]]
    assert [piece[1][1].tolist() for piece in found] == [[2], [3, 4], [1]]
    assert [piece[2].tolist() for piece in found] == [[0, 1, 2, 2], [0, 1, 2], [0]]
    assert torch.cat([piece[3] for piece in found]).tolist() == list(range(8))
    whole = (rows, None, *positives)
    assert next(pieces_of(whole, 7)) is whole


def evaluated(
    monkeypatch: pytest.MonkeyPatch, limit: int, model: str, **changes: Any
) -> Iterator[dict[str, float]]:
    """Yield the metrics of validation and test of an untrained model, and the largest piece."""
    keys = settings(metrics=METRICS, metric_decimal_place=17, value_negatives=9, **changes)
    config = DenoisingConfig(model, "tiny", None, keys)
    monkeypatch.setattr(pieces, "require_limit", lambda config: limit)
    dataset = create_dataset(config)
    assert dataset.item_num == ITEMS
    train, *parts = prepare_loaders(config, dataset)
    torch.manual_seed(3)
    trainer = DenoisingTrainer(config, config.model_class(config, train._dataset))
    trainer.eval_collector.data_collect(train)
    largest = []
    collect = trainer.eval_collector.eval_batch_collect

    held: list[torch.Tensor] = []

    def keep(scores: torch.Tensor, *rest: Any) -> None:
        # What a piece's scores are a view of is gone when the next piece is scored.
        assert sum(each.untyped_storage().nbytes() for each in held) == 0
        held[:] = [scores, scores if scores._base is None else scores._base]
        largest.append(len(scores))
        collect(scores, *rest)

    monkeypatch.setattr(trainer.eval_collector, "eval_batch_collect", keep)
    for part in parts:
        np.random.seed(11)
        random.seed(11)
        _, found = trainer._valid_epoch(part)
        yield {**found, "largest": max(largest)}


def round_scores(monkeypatch: pytest.MonkeyPatch, model: type[Any]) -> None:
    """Round a model's scores, whose last bit depends on how many are computed at a time."""
    for verb in ("predict", "full_sort_predict"):
        original = getattr(model, verb)

        def score(self: Any, interaction: Any, original: Any = original) -> torch.Tensor:
            found: torch.Tensor = original(self, interaction)
            return found.mul(2**12).round().div(2**12)

        monkeypatch.setattr(model, verb, score)


@pytest.mark.parametrize(
    ("model", "queries", "changes"),
    [
        ("SASRec", 5, {}),
        ("GRU4Rec", 7, {"revised_validation": True}),
        ("DIN", 1, {"eval_args": RATIO, "eval_batch_size": 300}),
        ("MF", 3, {"eval_args": RATIO, "exclude_seen": True}),
        ("MF", 4, {"eval_args": {**LAST, "mode": "uni9"}}),
        ("BPR", 2, {"eval_args": RATIO, "revised_validation": True}),
    ],
)
def test_metrics_in_pieces_are_those_of_whole_batches(
    model: str,
    queries: int,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    round_scores(monkeypatch, find_model(model))
    keys = {"eval_batch_size": 1000, **changes}
    limits = (2**30, queries * 4 * ITEMS)
    whole, cut = (list(evaluated(monkeypatch, each, model, **keys)) for each in limits)
    for one, other in zip(whole, cut):
        assert one.pop("largest") > queries
        assert other.pop("largest") == queries
        assert one == other
        assert len(one) >= len(METRICS)


def test_a_trainer_of_recbole_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["GAUC", "Hit", "NDCG", "MRR", "Recall"]
    keys = settings(metrics=names, metric_decimal_place=17, eval_args=RATIO)
    config = DenoisingConfig("SASRec", "tiny", None, keys)
    train, valid, _ = prepare_loaders(config, create_dataset(config))
    model = config.model_class(config, train._dataset)
    expected = Trainer(config, model).evaluate(valid, load_best_model=False)
    monkeypatch.setattr(pieces, "require_limit", lambda config: 4 * ITEMS * 20)
    found = DenoisingTrainer(config, model).evaluate(valid, load_best_model=False)
    assert dict(found) == dict(expected)


@pytest.mark.parametrize("limit", [0, -3, 2.5, True])
def test_a_wrong_limit_ends_in_one_line(limit: Any) -> None:
    with pytest.raises(UsageError, match=r"^eval_scores_mib.*$"):
        DenoisingConfig("SASRec", "tiny", None, settings(eval_scores_mib=limit))


def test_a_limit_makes_pieces_and_labels_have_none() -> None:
    config = DenoisingConfig("SASRec", "tiny", None, settings(eval_scores_mib=1))
    _, valid, _ = prepare_loaders(config, create_dataset(config))
    assert in_pieces(valid, config)._queries == 2**20 // (4 * valid._dataset.item_num)
    keys = settings(metrics=["AUC"], valid_metric="AUC", eval_args={**RATIO, "mode": "labeled"})
    config = DenoisingConfig("WideDeep", "tiny", None, keys)
    assert in_pieces(valid, config) is valid
