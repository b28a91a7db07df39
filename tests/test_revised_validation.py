"""Validation without its largest losses: worked numbers, a naive loop, and what it leaves alone."""

from __future__ import annotations

import copy
import logging
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector, Evaluator
from recbole.model.sequential_recommender import GRU4Rec, SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed
from sklearn.metrics import roc_auc_score
from torch import Tensor

from recbole_atjt import DenoisingConfig, DenoisingTrainer, TrainingError, UsageError
from recbole_atjt.evaluation.positive_losses import (
    Head,
    find_head,
    largest,
    pointwise_losses,
    query_losses,
)
from recbole_atjt.evaluation.remaining import without
from tests.runs import assemble, settings, train
from tests.tiers import fast

RANKING = ["Hit", "NDCG", "MRR", "GAUC", "Recall", "MAP"]
BY_RATIO = {"split": {"RS": [0.4, 0.4, 0.2]}, "order": "TO", "group_by": "user"}
BY_ONE = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
BPR = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
SAMPLES = {"train_neg_sample_args": {"distribution": "uniform"}}
#: Model, how its loss is computed, and settings.
RANKED = [
    pytest.param("SASRec", Head.SOFTMAX, {"eval_batch_size": 4}, id="CE"),
    pytest.param("SASRec", Head.SIGMOID, BPR, id="BPR"),
    pytest.param("GRU4Rec", Head.SIGMOID, {**BPR, "loss_type": "BCE"}, id="BCE"),
    pytest.param("SASRec", Head.SOFTMAX, {"eval_args": BY_RATIO, "eval_batch_size": 7}, id="RS"),
    pytest.param("RepeatNet", Head.PROBABILITY, {}, id="probabilities"),
    pytest.param("DCN", Head.PROBABILITY, {**SAMPLES, "eval_batch_size": 90}, id="windows"),
    pytest.param("BPR", Head.SIGMOID, {**SAMPLES, "eval_args": BY_RATIO}, id="several positives"),
    pytest.param(
        "MultiVAE", Head.SOFTMAX, {"eval_args": BY_RATIO, "eval_batch_size": 90}, id="VAE"
    ),
]
SAMPLED = [
    pytest.param("SASRec", Head.SOFTMAX, BY_ONE, {}, id="CE"),
    pytest.param("SASRec", Head.SIGMOID, BY_ONE, BPR, id="BPR"),
    pytest.param("DIN", Head.PROBABILITY, BY_ONE, SAMPLES, id="probabilities"),
    pytest.param("BPR", Head.SIGMOID, BY_RATIO, SAMPLES, id="several positives"),
]


def prepared(model: str, mode: str = "full", **changes: Any) -> tuple[Any, Any]:
    """Return a trainer, its model's parameters moved far apart, and its validation data."""
    changes["eval_args"] = {**changes.get("eval_args", BY_ONE), "mode": mode}
    keys = {"weighting": "erm_revised", "metrics": RANKING, **changes}
    config, (_, valid_data, _), built = assemble(model, **copy.deepcopy(keys))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return DenoisingTrainer(config, built), valid_data


def validate(trainer: Any, valid_data: Any) -> dict[str, float]:
    np.random.seed(5)
    return dict(trainer._valid_epoch(valid_data)[1])


def loss_of(head: Head, score: float, candidates: list[float]) -> float:
    if head is Head.SOFTMAX:
        return math.log(sum(math.exp(s) for s in candidates)) - score
    if head is Head.PROBABILITY:
        return -math.log(score) if score else math.inf
    return math.log1p(math.exp(-score))


def drop(losses: list[float], share: float) -> set[int]:
    order = sorted(range(len(losses)), key=lambda k: -losses[k])
    return set(order[: math.floor(Fraction(str(share)) * len(losses))])


def rankings(trainer: Any, valid_data: Any) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield each query's scores of all items and its positives."""
    trainer.model.eval()
    trainer.tot_item_num = valid_data._dataset.item_num
    trainer.item_tensor = valid_data._dataset.get_item_feature()
    for batch in valid_data:
        with torch.no_grad():
            _, scores, positive_u, positive_i = Trainer._full_sort_batch_eval(trainer, batch)
        for row in range(len(scores)):
            yield scores[row], positive_i[positive_u == row].tolist()


def ranking_metrics(config: Any, queries: list[tuple[Tensor, list[int]]]) -> dict[str, float]:
    collector = Collector(config)
    rows = [row for row, (_, items) in enumerate(queries) for _ in items]
    items = [item for _, items in queries for item in items]
    scores = torch.stack([scores for scores, _ in queries])
    collector.eval_batch_collect(scores, None, torch.tensor(rows), torch.tensor(items))
    return dict(Evaluator(config).evaluate(collector.get_data_struct()))


def naive_ranking(
    config: Any, head: Head, share: float, queries: list[tuple[Tensor, list[int]]]
) -> dict[str, float]:
    losses = [
        loss_of(head, float(scores[item]), scores[scores > -torch.inf].tolist())
        for scores, items in queries
        for item in items
    ]
    dropped, number, left = drop(losses, share), 0, []
    for scores, items in queries:
        kept = []
        for item in items:
            if number not in dropped:
                kept.append(item)
            number += 1
        if kept:
            scores = scores.clone()
            scores[[item for item in items if item not in kept]] = -torch.inf
            left.append((scores, kept))
    return ranking_metrics(config, left)


@pytest.mark.parametrize(("model", "head", "changes"), RANKED)
@pytest.mark.parametrize("share", fast([0.2, 0.85]))
def test_full_ranking_equals_a_naive_loop(
    model: str, head: Head, changes: dict[str, Any], share: float
) -> None:
    trainer, valid_data = prepared(model, revised_validation_drop=share, **changes)
    queries = list(rankings(trainer, valid_data))
    if model in ("BPR", "MultiVAE"):
        assert max(len(items) for _, items in queries) > 2
    expected = naive_ranking(trainer.config, head, share, queries)
    result = validate(trainer, valid_data)
    assert result == pytest.approx(expected, abs=1e-9)
    assert result != pytest.approx(ranking_metrics(trainer.config, queries), abs=1e-4)


def candidates(trainer: Any, valid_data: Any) -> Iterator[tuple[list[int], list[int], list[float]]]:
    """Yield each query's positives, its candidates' items and their scores, row by row."""
    np.random.seed(5)
    trainer.model.eval()
    for interaction, rows, positive_u, positive_i in valid_data:
        with torch.no_grad():
            scores = trainer.model.predict(interaction)
        for query in range(int(positive_u[-1]) + 1):
            mine = rows == query
            items = interaction["item_id"][mine].tolist()
            yield positive_i[positive_u == query].tolist(), items, scores[mine].tolist()


@pytest.mark.parametrize("mode", fast(["uni7", "pop7"]))
@pytest.mark.parametrize(("model", "head", "split", "changes"), SAMPLED)
@pytest.mark.parametrize("share", fast([0.2, 0.85]))
def test_sampled_candidates_equal_a_naive_loop(
    model: str, head: Head, split: Any, changes: dict[str, Any], mode: str, share: float
) -> None:
    keys = {"eval_args": split, "eval_batch_size": 40, **changes}
    metrics = [*RANKING, "AUC"]
    trainer, valid_data = prepared(
        model, mode, revised_validation_drop=share, **{**keys, "metrics": metrics}
    )
    queries = list(candidates(trainer, valid_data))
    losses = [
        loss_of(head, dict(zip(items, scores))[item], list(dict(zip(items, scores)).values()))
        for positives, items, scores in queries
        for item in positives
    ]
    dropped, number = drop(losses, share), 0
    left, labels, values = [], [], []
    for positives, items, scores in queries:
        gone = [number + k in dropped for k in range(len(positives))]
        number += len(positives)
        row = torch.full((valid_data._dataset.item_num,), -torch.inf)
        for place, (item, score) in enumerate(zip(items, scores)):
            if not gone[place % len(positives)]:
                row[item] = score
                values.append(score)
                labels.append(int(place < len(positives)))
        if not all(gone):
            left.append((row, [item for item, lost in zip(positives, gone) if not lost]))
    result = validate(trainer, valid_data)
    assert result.pop("auc") == pytest.approx(roc_auc_score(labels, values), abs=1e-9)
    assert result == pytest.approx(ranking_metrics(trainer.config, left), abs=1e-9)


def test_labelled_data_lose_positives_only() -> None:
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    trainer, valid_data = prepared(
        "DCN", "labeled", metrics=["AUC", "LogLoss"], valid_metric="AUC", load_col=columns,
        threshold={"rating": 3}, eval_args=BY_RATIO, train_neg_sample_args=None,
        revised_validation_drop=0.3, eval_batch_size=16,
    )  # fmt: skip
    trainer.model.eval()
    rows = []
    for interaction, *_ in valid_data:
        with torch.no_grad():
            scores = trainer.model.predict(interaction).tolist()
        rows += zip(scores, interaction["label"].tolist())
    positives = [k for k, (_, label) in enumerate(rows) if label == 1]
    assert 10 < len(positives) < len(rows) - 10
    dropped = drop([loss_of(Head.PROBABILITY, rows[k][0], []) for k in positives], 0.3)
    gone = {positives[k] for k in dropped}
    scores, labels = zip(*[row for k, row in enumerate(rows) if k not in gone])
    result = validate(trainer, valid_data)
    assert result["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert result["auc"] > roc_auc_score([label for _, label in rows], [s for s, _ in rows])


def test_value_metrics_see_the_remaining_positives_and_their_negatives() -> None:
    trainer, valid_data = prepared(
        "BPR", metrics=[*RANKING, "AUC"], eval_args=BY_RATIO, value_negatives=3, **SAMPLES
    )
    collected: list[tuple[Tensor, Tensor]] = []
    start = trainer._values.start

    def restart(items: int) -> None:
        start(items)
        collect = trainer._values._collector.eval_collect
        trainer._values._collector.eval_collect = lambda *values: (
            collected.append(values), collect(*values))  # fmt: skip

    with mock.patch.object(trainer._values, "start", restart):
        result = validate(trainer, valid_data)
    queries = list(rankings(trainer, valid_data))
    positives = [float(scores[item]) for scores, items in queries for item in items]
    losses = [math.log1p(math.exp(-score)) for score in positives]
    dropped = drop(losses, 0.2)
    scores, labels = (torch.cat(values) for values in zip(*collected))
    kept = [score for k, score in enumerate(positives) if k not in dropped]
    assert scores[labels == 1].tolist() == pytest.approx(kept)
    places = np.repeat(range(len(queries)), [len(items) for _, items in queries])
    left = len({int(place) for k, place in enumerate(places) if k not in dropped})
    assert len(scores) - len(kept) == 3 * left
    lost = {round(positives[k], 6) for k in dropped}
    assert lost.isdisjoint(round(score, 6) for score in scores.tolist())
    assert result["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)


def test_losses_by_hand() -> None:
    scores = torch.tensor([[-torch.inf, 0.0, math.log(2), math.log(5)], [-torch.inf, 1, 1, 1]])
    u, i = torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2])
    softmax = query_losses(Head.SOFTMAX, scores, u, i)
    assert softmax.tolist() == pytest.approx([math.log(8 / 5), math.log(8), math.log(3)])
    sigmoid = query_losses(Head.SIGMOID, scores, u, i)
    assert sigmoid.tolist() == pytest.approx([math.log(6 / 5), math.log(2), math.log1p(1 / math.e)])
    assert pointwise_losses(Head.PROBABILITY, torch.tensor([0.25, 1.0])).tolist() == pytest.approx(
        [math.log(4), 0]
    )
    far = pointwise_losses(Head.SIGMOID, torch.tensor([300.0, 200.0, -1e4]))
    assert 0 < far[0] < far[1]
    assert far[2] == 1e4


def test_the_share_is_floored_and_ties_go_by_order() -> None:
    assert largest(torch.tensor([2.0, 3.0, 3.0, 1.0, 3.0]), 0.4).tolist() == [0, 1, 1, 0, 0]
    assert largest(torch.tensor([1.0, math.inf, 2.0]), 0.5).tolist() == [0, 1, 0]
    assert largest(torch.rand(100), 0.29).sum() == 29  # 0.29 * 100 is below 29 in binary
    assert largest(torch.rand(4), 0.2).sum() == 0


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.integers(1, 99).map(lambda percent: percent / 100),
)
def test_the_largest_equal_a_sorted_list(losses: list[int], share: float) -> None:
    marked = largest(torch.tensor(losses, dtype=torch.float), share)
    assert set(marked.nonzero().flatten().tolist()) == drop([*map(float, losses)], share)
    assert not marked.all()


def test_a_ranking_without_some_positives() -> None:
    users = Interaction({"user_id": torch.tensor([7, 8, 9])})
    history = (torch.tensor([0, 1, 2]), torch.tensor([30, 31, 32]))
    u, i = torch.tensor([0, 0, 1, 2]), torch.tensor([10, 11, 12, 13])
    dropped = torch.tensor([True, False, True, False])
    rest, unranked, left_u, left_i = without((users, history, u, i), dropped, "label")
    assert rest["user_id"].tolist() == [7, 9]
    assert [values.tolist() for values in unranked] == [[0, 1, 0], [30, 32, 10]]
    assert (left_u.tolist(), left_i.tolist()) == ([0, 1], [11, 13])
    one = torch.arange(3)
    rest, unranked, *_ = without((users, None, one, one), one == 1, "label")
    assert rest["user_id"].tolist() == [7, 9]
    assert unranked is None


def test_candidates_go_with_their_positive() -> None:
    query = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])  # two positives with two each, then one
    items = torch.tensor([1, 2, 11, 21, 12, 22, 3, 13, 14])
    u, i = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 3])
    batch = (Interaction({"item_id": items}), query, u, i)
    for dropped, rows, queries, left_u in (
        ([1, 0, 0], [2, 21, 22, 3, 13, 14], [0, 0, 0, 1, 1, 1], [0, 1]),
        ([1, 1, 0], [3, 13, 14], [0, 0, 0], [0]),
        ([0, 1, 1], [1, 11, 12], [0, 0, 0], [0]),
        ([1, 1, 1], [], [], []),
    ):
        rest, left, users, positives = without(batch, torch.tensor(dropped).bool(), "label")
        assert rest["item_id"].tolist() == rows
        assert (left.tolist(), users.tolist()) == (queries, left_u)
        assert positives.tolist() == [item for item, gone in zip([1, 2, 3], dropped) if not gone]


@pytest.mark.parametrize(
    ("model", "mode", "changes"),
    [
        ("SASRec", "full", {"metrics": [*RANKING, "AUC"]}),
        ("SASRec", "uni7", {"metrics": [*RANKING, "AUC"]}),
        ("BPR", "full", {**SAMPLES, "eval_args": BY_RATIO, "metrics": [*RANKING, "LogLoss"]}),
        ("DCN", "pop7", {**SAMPLES, "metrics": ["AUC"], "valid_metric": "AUC"}),
    ],
)
def test_a_share_that_drops_nothing_is_plain_validation(
    model: str, mode: str, changes: dict[str, Any]
) -> None:
    plain = validate(*prepared(model, mode, weighting="none", **changes))
    revised = validate(*prepared(model, mode, revised_validation_drop=1e-6, **changes))
    assert revised == plain


def with_noise(predict: Any) -> Any:
    def noisy(model: Any, interaction: Any) -> Any:
        scores = predict(model, interaction)
        return scores + torch.rand_like(scores)

    return noisy


def final_state(trainer: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = trainer.final
    return state


@pytest.mark.parametrize("mode", ["full", "uni7"])
@pytest.mark.parametrize("model", fast(["BPR", "SASRec", "GRU4Rec"]))
def test_training_is_plain_training_bit_for_bit(
    model: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"epochs": 3, "eval_args": {**BY_ONE, "mode": mode}}
    changes.update(SAMPLES if model == "BPR" else {"train_neg_sample_args": None})
    if model == "GRU4Rec":  # as if it drew random numbers where it is evaluated
        for name in ("predict", "full_sort_predict"):
            monkeypatch.setattr(GRU4Rec, name, with_noise(getattr(GRU4Rec, name)))
    plain, plainly = train(model, "none", **changes)
    revised, revisedly = train(model, "erm_revised", **changes)
    assert revisedly.train_loss_dict == plainly.train_loss_dict
    for name, value in final_state(plainly).items():
        assert torch.equal(value, final_state(revisedly)[name]), name
    assert revised.weighting == "erm_revised"
    assert revised.config["revised_validation"] is True
    assert revised.weights is None
    assert revised.epochs == plain.epochs
    assert revisedly.best_valid_score != plainly.best_valid_score


def test_reports_are_on_all_positives() -> None:
    changes: dict[str, Any] = {"epochs": 1, "train_neg_sample_args": None}
    plain, _ = train("SASRec", "none", **changes)
    revised, trainer = train("SASRec", "erm_revised", **changes)
    assert (revised.valid, revised.test) == (plain.valid, plain.test)
    assert trainer.best_valid_result["ndcg@10"] != revised.valid["ndcg@10"]


@pytest.mark.parametrize("weighting", fast(["t_ce", "atjt", "dnr"]))
def test_the_switch_works_under_a_strategy(weighting: str) -> None:
    changes: dict[str, Any] = {"epochs": 2, "train_neg_sample_args": None}
    plain, plainly = train("SASRec", weighting, **changes)
    revised, revisedly = train("SASRec", weighting, revised_validation=True, **changes)
    assert revisedly.train_loss_dict == plainly.train_loss_dict
    for name, value in final_state(plainly).items():
        assert torch.equal(value, final_state(revisedly)[name]), name
    assert revised.weights is not None
    queries = list(rankings(revisedly, revisedly_valid(weighting, changes)))
    share = naive_ranking(revisedly.config, Head.SOFTMAX, 0.2, queries)
    revisedly._valid_epoch(revisedly_valid(weighting, changes))
    assert revisedly._valid_epoch(revisedly_valid(weighting, changes))[1] == pytest.approx(share)
    assert plain.weights is not None


def revisedly_valid(weighting: str, changes: dict[str, Any]) -> Any:
    _, (_, valid_data, _), _ = assemble("SASRec", weighting=weighting, **changes)
    return valid_data


def test_a_bare_model_with_recboles_config() -> None:
    keys = settings(revised_validation=True, train_neg_sample_args=None)
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(model="SASRec", dataset="tiny", config_dict=keys)
    init_seed(config["seed"], True)
    train_data, valid_data, _ = data_preparation(config, create_dataset(config))
    trainer = DenoisingTrainer(config, SASRec(config, train_data._dataset))
    trainer.fit(train_data, verbose=False, saved=False)
    queries = list(rankings(trainer, valid_data))
    expected = naive_ranking(config, Head.SOFTMAX, 0.2, queries)
    assert trainer._valid_epoch(valid_data)[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("model", "changes", "head"),
    [
        ("SASRec", {"loss_type": "CE"}, Head.SOFTMAX),
        ("SASRec", BPR, Head.SIGMOID),
        ("SASRec", {**BPR, "loss_type": "BCE"}, Head.SIGMOID),
        ("BERT4Rec", {"loss_type": "CE"}, Head.SOFTMAX),
        ("BERT4Rec", BPR, Head.SIGMOID),
        ("SINE", {"loss_type": "NLL", **SAMPLES}, Head.SOFTMAX),
        ("FPMC", SAMPLES, Head.SIGMOID),
        ("MF", {"loss_type": "CE"}, Head.SOFTMAX),
        ("DIN", SAMPLES, Head.PROBABILITY),
        ("RepeatNet", {}, Head.PROBABILITY),
        ("WideDeep", SAMPLES, Head.PROBABILITY),
        ("MultiDAE", {}, Head.SOFTMAX),
        ("LightGCN", SAMPLES, Head.SIGMOID),
        ("GCMC", SAMPLES, Head.SIGMOID),
    ],
)
def test_heads(model: str, changes: dict[str, Any], head: Head) -> None:
    _, _, built = assemble(model, **changes)
    assert find_head(built, full_ranking=True) is head
    assert find_head(built, full_ranking=False) is head


def test_fism_ranks_by_logits_but_predicts_probabilities() -> None:
    _, (_, valid_data, _), built = assemble("FISM", **SAMPLES)
    assert find_head(built, full_ranking=True) is Head.SIGMOID
    assert find_head(built, full_ranking=False) is Head.PROBABILITY
    interaction = next(iter(valid_data))[0]
    with torch.no_grad():
        logits = built.full_sort_predict(interaction).view(len(interaction), -1)[:, 1]
        interaction.update(Interaction({"item_id": torch.ones(len(interaction), dtype=torch.long)}))
        predicted = built.predict(interaction)
    assert logits.min() < 0
    assert torch.allclose(predicted, logits.sigmoid().sigmoid())  # RecBole's, twice


@pytest.mark.parametrize(
    ("given_keys", "message"),
    [
        ({"revised_validation": "maybe"}, "revised_validation=maybe is not True or False"),
        ({"revised_validation": 1}, "revised_validation=1 is not True or False"),
        ({"revised_validation_drop": "all"}, "revised_validation_drop=all is not a number"),
        ({"revised_validation_drop": True}, "revised_validation_drop=True is not a number"),
        ({"revised_validation_drop": 0}, r"revised_validation_drop=0 is out of range: .*\(0, 1\)"),
        ({"revised_validation_drop": 1.0}, "revised_validation_drop=1.0 is out of range"),
        ({"revised_validation_drop": math.nan}, "revised_validation_drop=nan is out of range"),
        (
            {"weighting": "erm_revised", "revised_validation": False},
            "revised_validation=False does not go with weighting=erm_revised.*weighting=none",
        ),
    ],
)
def test_wrong_settings_end_in_one_line(given_keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        DenoisingConfig("SASRec", "tiny", config_dict=settings(**given_keys))
    assert "\n" not in str(caught.value)


def test_the_strategy_turns_the_switch_on() -> None:
    config = DenoisingConfig("SASRec", "tiny", config_dict=settings(weighting="erm_revised"))
    assert config["revised_validation"] is True
    assert DenoisingConfig("SASRec", "tiny", config_dict=settings())["revised_validation"] is False


def test_it_is_said_once_how_many_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    for share, line in ((0.2, "drops 6 of 30 positives"), (0.01, "there are only 30 validation")):
        trainer, valid_data = prepared("SASRec", revised_validation_drop=share)
        with caplog.at_level(logging.INFO):
            trainer._valid_epoch(valid_data)
            trainer._valid_epoch(valid_data)
        assert sum(line in record.getMessage() for record in caplog.records) == 1


def test_scores_that_are_no_numbers_are_named() -> None:
    trainer, valid_data = prepared("SASRec")
    with torch.no_grad():
        trainer.model.item_embedding.weight[3] = torch.nan
    with pytest.raises(TrainingError, match="SASRec gives scores that are not numbers"):
        trainer._valid_epoch(valid_data)


def test_labelled_data_cannot_be_ranked() -> None:
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    trainer, valid_data = prepared(
        "DCN", "labeled", load_col=columns, threshold={"rating": 3}, train_neg_sample_args=None
    )
    with pytest.raises(UsageError, match="rank candidates"):
        trainer._valid_epoch(valid_data)
