"""Value and ranking metrics in one run: against plain RecBole, a naive loop and worked cases."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn

from recbole_atjt import DenoisingTrainer
from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.evaluation.naming import split_metrics
from recbole_atjt.evaluation.negatives import sample_negatives
from recbole_atjt.evaluation.values import (
    gives_probabilities,
    recorded_predictions,
)
from tests.tiers import fast

RANKING = ["Hit", "NDCG", "MRR", "GAUC"]
SETTINGS: dict[str, Any] = {
    "seed": 7,
    "reproducibility": True,
    "use_gpu": False,
    "show_progress": False,
    "epochs": 1,
    "topk": [5],
    "valid_metric": "NDCG@5",
    "metric_decimal_place": 12,
    "embedding_size": 8,
    "train_batch_size": 64,
    "eval_batch_size": 128,
}
SEQUENTIAL = {
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "MAX_ITEM_LIST_LENGTH": 6,
    "train_neg_sample_args": None,
}
CONTEXT = {"mlp_hidden_size": [8]}

Build = Callable[..., tuple[Any, Any, nn.Module, Any]]


def write_dataset(folder: Path, users: int = 25, items: int = 60) -> None:
    rng = np.random.default_rng(3)
    (folder / "tiny").mkdir()
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(users):
        length = int(rng.integers(8, 20))
        for time, item in enumerate(rng.permutation(items)[:length]):
            lines.append(f"u{user}\ti{item}\t{rng.integers(1, 6)}\t{time}")
    (folder / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a maker of (config, test loader, model, plain or joint trainer) on a tiny dataset."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    write_dataset(tmp_path)

    def make(
        model_name: str, mode: str, metrics: list[str], value_metrics: Any = None, **extra: Any
    ) -> tuple[Any, Any, nn.Module, Any]:
        split = extra.pop("split", {"LS": "valid_and_test"})
        context = model_name not in ("SASRec", "GRU4Rec", "DIN")
        columns = ["user_id", "item_id", "rating", "timestamp"]
        config = Config(
            model=model_name,
            dataset="tiny",
            config_dict={
                **SETTINGS,
                **(CONTEXT if context else SEQUENTIAL),
                "data_path": str(tmp_path),
                "load_col": {"inter": columns[:2] + columns[3:]},
                "eval_args": {"split": split, "order": "TO", "group_by": "user", "mode": mode},
                "metrics": metrics,
                "value_metrics": value_metrics,
                **({} if not context else {"train_neg_sample_args": {
                    "distribution": "uniform", "sample_num": 1, "dynamic": False}}),
                **extra,
            },
        )  # fmt: skip
        dataset = create_dataset(config)
        _, _, test = data_preparation(config, dataset)
        torch.manual_seed(5)
        model = get_model(model_name)(config, test._dataset)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return config, test, model, DenoisingTrainer(config, model)

    return make


def evaluate(trainer: Any, loader: Any) -> dict[str, float]:
    """Evaluate with the loader's negatives drawn from the same seed each time."""
    np.random.seed(11)
    random.seed(11)
    return dict(trainer.evaluate(loader, load_best_model=False))


def naive_draws(scores: Tensor, positives: dict[int, set[int]], items: Tensor, count: int) -> None:
    for row, drawn in enumerate(items.reshape(-1, count).tolist()):
        for item in drawn:
            assert item > 0
            assert item not in positives.get(row, set())
            assert scores[row, item] > -torch.inf


def draw_beside(
    scores: Tensor, positive_u: Tensor, positive_i: Tensor, count: int, generator: Any
) -> tuple[Tensor, Tensor]:
    """Draw negatives beside positives from the items whose score is not minus infinity."""
    row, item = (scores == -torch.inf).nonzero(as_tuple=True)
    excluded = torch.cat((row, positive_u)), torch.cat((item, positive_i))
    return sample_negatives(tuple(scores.shape), *excluded, count, generator)


def test_split_metrics_by_recbole_registry() -> None:
    split = split_metrics(["NDCG", "auc", "Hit", "LogLoss", "gauc", "MAE", "rmse"])
    assert split == (["NDCG", "Hit", "gauc"], ["auc", "LogLoss", "MAE", "rmse"])
    assert split_metrics([]) == ([], [])


def test_split_metrics_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no metric 'NDGC', did you mean 'NDCG'"):
        split_metrics(["AUC", "NDGC"])


@pytest.mark.parametrize("model_name", ["SASRec", "DIN", "DCN"])
def test_full_sort_equals_a_naive_loop(build: Build, model_name: str) -> None:
    _, loader, _model, trainer = build(
        model_name, "full", RANKING, ["AUC", "LogLoss", "MAE", "RMSE"], value_negatives=13
    )
    seen: list[tuple[Tensor, Any, Any]] = []
    collect = trainer.eval_collector.eval_batch_collect

    def keep(scores: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor) -> None:
        seen.append((scores.clone(), positive_u, positive_i))
        collect(scores, interaction, positive_u, positive_i)

    trainer.eval_collector.eval_batch_collect = keep
    result = evaluate(trainer, loader)

    generator = torch.Generator().manual_seed(7)
    values, labels = [], []
    for scores, positive_u, positive_i in seen:
        before = scores.clone()
        rows, items = draw_beside(scores, positive_u, positive_i, 13, generator)
        assert torch.equal(scores, before)
        positives: dict[int, set[int]] = {}
        for row, item in zip(positive_u.tolist(), positive_i.tolist()):
            positives.setdefault(row, set()).add(item)
            values.append(scores[row, item].item())
            labels.append(1)
        assert rows.tolist() == [row for row in range(len(scores)) for _ in range(13)]
        naive_draws(scores, positives, items, 13)
        for row, item in zip(rows.tolist(), items.tolist()):
            values.append(scores[row, item].item())
            labels.append(0)
    probability = np.array(values)
    if model_name == "SASRec":
        probability = 1 / (1 + np.exp(-probability))
    assert result["auc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-9)
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    assert result["logloss"] == pytest.approx(log_loss(labels, clipped), rel=1e-6)
    assert result["mae"] == pytest.approx(np.abs(probability - labels).mean(), rel=1e-6)
    assert result["rmse"] == pytest.approx(np.sqrt(((probability - labels) ** 2).mean()), rel=1e-6)
    assert {"hit@5", "ndcg@5", "mrr@5", "gauc"} < set(result)


@pytest.mark.parametrize(
    ("model_name", "mode", "split"),
    fast(
        [
            ("SASRec", "uni20", {"LS": "valid_and_test"}),
            ("SASRec", "full", {"LS": "valid_and_test"}),
            ("DCN", "uni20", {"RS": [0.6, 0.2, 0.2]}),
            ("SASRec", "pop20", {"LS": "valid_and_test"}),
            ("SASRec", "uni20", {"RS": [0.6, 0.2, 0.2]}),
            ("DIN", "uni20", {"LS": "valid_and_test"}),
            ("DCN", "uni20", {"LS": "valid_and_test"}),
            ("DCN", "full", {"RS": [0.6, 0.2, 0.2]}),
        ],
        3,
    ),
)
@pytest.mark.parametrize("eval_batch_size", fast([128, 16]))
def test_every_metric_is_the_one_plain_recbole_gives(
    build: Build, model_name: str, mode: str, split: Any, eval_batch_size: int
) -> None:
    extra = {"split": split, "eval_batch_size": eval_batch_size}
    _, loader, model, trainer = build(model_name, mode, RANKING, ["AUC", "LogLoss"], **extra)
    joint = evaluate(trainer, loader)
    config, loader, model, _ = build(model_name, mode, RANKING, **extra)
    plain = evaluate(Trainer(config, model), loader)
    assert list(joint) == [*plain, "auc", "logloss"]
    assert {name: joint[name] for name in plain} == plain
    if mode != "full":
        config, loader, model, _ = build(
            model_name, mode, ["AUC", "LogLoss"], valid_metric="AUC", **extra
        )
        plain = evaluate(Trainer(config, model), loader)
        assert joint["auc"] == plain["auc"]
        if model_name != "SASRec":
            assert joint["logloss"] == plain["logloss"]
    assert 0 < joint["auc"] < 1


def test_logits_far_from_zero_keep_their_order(build: Build) -> None:
    config, loader, model, trainer = build("SASRec", "uni20", RANKING, ["AUC", "LogLoss"])
    with torch.no_grad():
        model.item_embedding.weight.mul_(60)
    joint = evaluate(trainer, loader)
    config, loader, _, _ = build("SASRec", "uni20", ["AUC"], valid_metric="AUC")
    assert joint["auc"] == evaluate(Trainer(config, model), loader)["auc"]
    assert 0 < joint["logloss"] < 40


def test_every_evaluation_draws_the_same_negatives(build: Build) -> None:
    _, loader, _model, trainer = build("SASRec", "full", RANKING, ["AUC"], value_negatives=3)
    first = evaluate(trainer, loader)
    torch.manual_seed(99)
    assert dict(trainer.evaluate(loader, load_best_model=False)) == first
    _, loader, _, other = build("SASRec", "full", RANKING, ["AUC"], value_negatives=3, seed=8)
    assert evaluate(other, loader)["auc"] != first["auc"]


def test_evaluation_after_an_interrupted_one_starts_anew(build: Build) -> None:
    _, loader, _, trainer = build("SASRec", "full", RANKING, ["AUC"])
    first = evaluate(trainer, loader)
    batch = next(iter(loader))
    trainer._full_sort_batch_eval(batch)
    assert evaluate(trainer, loader)["auc"] == first["auc"]


def test_models_predict_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    _, loader, model, trainer = build("DCN", "uni20", RANKING, ["AUC"])
    rows = 0
    predict = type(model).predict

    def count(self: Any, interaction: Any) -> Any:
        nonlocal rows
        rows += len(interaction)
        return predict(self, interaction)

    monkeypatch.setattr(type(model), "predict", count)
    evaluate(trainer, loader)
    assert rows == 25 * 21
    assert "predict" not in vars(model)


def test_value_metrics_can_select_the_model(build: Build) -> None:
    _config, loader, _model, trainer = build(
        "SASRec", "full", RANKING, ["AUC", "LogLoss"], valid_metric="LogLoss"
    )
    assert not trainer.valid_metric_bigger
    score, result = trainer._valid_epoch(loader)
    assert score == result["logloss"]


@pytest.mark.parametrize("value_metrics", [None, [], ["AUC"]])
def test_value_metrics_alone_are_left_to_recbole(build: Build, value_metrics: Any) -> None:
    extra = {"valid_metric": "AUC"}
    _, loader, _, trainer = build("DCN", "uni20", ["AUC", "LogLoss"], value_metrics, **extra)
    joint = evaluate(trainer, loader)
    config, loader, model, _ = build("DCN", "uni20", ["AUC", "LogLoss"], **extra)
    assert joint == evaluate(Trainer(config, model), loader)


def test_one_name_may_stand_without_a_list(build: Build) -> None:
    _, loader, _, trainer = build("SASRec", "full", ["NDCG"], "AUC")
    assert set(evaluate(trainer, loader)) == {"ndcg@5", "auc"}


@pytest.mark.parametrize(
    ("value_metrics", "negatives", "message"),
    [
        (["AUC", "Hit"], 5, "'Hit' ranks items, put it into metrics"),
        (["AUX"], 5, "no metric 'AUX', did you mean 'AUC'"),
        (["AUC"], 0, "value_negatives: 0 is not a whole number of at least 1"),
        (["AUC"], 2.5, "value_negatives: 2.5 is not"),
    ],
)
def test_wrong_settings_end_in_one_line(
    build: Build, value_metrics: Any, negatives: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build("SASRec", "full", RANKING, value_metrics, value_negatives=negatives)


def test_labelled_data_cannot_be_ranked(build: Build) -> None:
    _, loader, _, trainer = build("DCN", "labeled", RANKING, ["AUC"])
    with pytest.raises(UsageError, match="Hit, NDCG, MRR, GAUC rank candidates"):
        evaluate(trainer, loader)


def test_scores_that_are_no_numbers_are_named(build: Build) -> None:
    _, loader, model, trainer = build("SASRec", "full", RANKING, ["AUC"])
    with torch.no_grad():
        model.item_embedding.weight[3] = torch.nan
    with pytest.raises(TrainingError, match="SASRec gives scores that are not numbers"):
        evaluate(trainer, loader)


def test_negatives_are_uniform_over_the_candidates() -> None:
    scores = torch.zeros(2, 12)
    scores[:, 0] = scores[0, 8:] = -torch.inf
    positive_u, positive_i = torch.tensor([0, 0, 1]), torch.tensor([2, 5, 11])
    rows, items = draw_beside(
        scores, positive_u, positive_i, 30_000, torch.Generator().manual_seed(1)
    )
    counts = [torch.bincount(items[rows == row], minlength=12) for row in (0, 1)]
    expected = [{1, 3, 4, 6, 7}, set(range(1, 11))]
    for count, candidates in zip(counts, expected):
        assert set(count.nonzero().flatten().tolist()) == candidates
        mean = 30_000 / len(candidates)
        for item in candidates:
            assert abs(count[item].item() - mean) < 5 * mean**0.5


def test_rare_candidates_are_found_and_empty_rows_left_out() -> None:
    scores = torch.full((3, 5000), -torch.inf)
    scores[0, [17, 4999]] = 1.0
    scores[1, 40] = 1.0
    scores[2] = 2.0
    rows, items = draw_beside(
        scores, torch.tensor([1]), torch.tensor([40]), 400, torch.Generator().manual_seed(1)
    )
    assert sorted(set(rows.tolist())) == [0, 2]
    drawn = torch.bincount(items[rows == 0], minlength=5000)
    assert set(drawn.nonzero().flatten().tolist()) == {17, 4999}
    assert 140 < drawn[17] < 260
    assert (items[rows == 2] > 0).all()
    assert scores[1, 40] == 1.0


def test_probability_models_are_known_by_class() -> None:
    context = get_model("WideDeep")
    named = [get_model(name) for name in ("DIN", "DIEN", "RepeatNet", "SASRecCPR", "GRU4RecCPR")]
    for kind in (context, *named, type("Mine", (named[0],), {})):
        model = kind.__new__(kind)
        nn.Module.__init__(model)
        wrapper = nn.Module()
        wrapper.recommender = model
        assert gives_probabilities(model)
        assert gives_probabilities(wrapper)
    for name in ("SASRec", "S3Rec", "BERT4Rec", "FEARec"):
        assert not gives_probabilities(get_model(name).__new__(get_model(name)))


def test_recording_leaves_the_model_as_it_was() -> None:
    class Model(nn.Module):
        def predict(self, interaction: Tensor) -> Tensor:
            return interaction * 2

    model = Model()
    with recorded_predictions(model) as seen:
        model.predict(torch.tensor(2.0))
    assert [scores.tolist() for scores in seen] == [[4.0]]
    assert "predict" not in vars(model)
    own = model.predict = lambda interaction: interaction
    with pytest.raises(KeyError), recorded_predictions(model):
        raise KeyError
    assert model.predict is own
