"""Matrix factorisation: its equation, its windows, and what does not go with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_atjt import DenoisingConfig, UsageError, create_dataset, prepare_loaders
from recbole_atjt.model.mf import MF
from recbole_atjt.model.pointwise import pointwise
from recbole_atjt.model.table import find_model
from tests.contracts import ROW_LAWS
from tests.models import Case, build
from tests.runs import assemble, settings, train

KEYS = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    "MAX_ITEM_LIST_LENGTH": 10,
    "device": "cpu",
    "embedding_size": 2,
}


def hand_made(loss_type: str) -> MF:
    """Two users and three items (0 is padding) with embeddings worked by hand."""
    dataset = SimpleNamespace(num={"user_id": 3, "item_id": 4}.__getitem__)
    model = MF({**KEYS, "loss_type": loss_type}, dataset)
    with torch.no_grad():
        model.user_embedding.weight.copy_(torch.tensor([[0.0, 0], [1, 2], [0, -1]]))
        model.item_embedding.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]))
    return model


BATCH = Interaction(
    {
        "user_id": torch.tensor([1, 2]),
        "item_id": torch.tensor([3, 2]),
        "neg_item_id": torch.tensor([1, 3]),
    }
)


def test_scores_are_inner_products() -> None:
    model = hand_made("CE")
    assert model.forward(BATCH["user_id"]).tolist() == [[1, 2], [0, -1]]
    assert model.predict(BATCH).tolist() == [3, -1]
    assert model.full_sort_predict(BATCH).tolist() == [[0, 1, 2, 3], [0, 0, -1, -1]]


def test_softmax_loss() -> None:
    """-log e^3 / (e^0 + e^1 + e^2 + e^3) and -log e^-1 / (2 e^0 + 2 e^-1), averaged."""
    first = -math.log(math.exp(3) / sum(map(math.exp, (0, 1, 2, 3))))
    second = -math.log(math.exp(-1) / (2 + 2 * math.exp(-1)))
    loss = hand_made("CE").calculate_loss(BATCH)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_pairwise_loss() -> None:
    """Scores 3 against 1, and -1 against -1."""
    expected = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert hand_made("BPR").calculate_loss(BATCH).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss_type", ["CE", "BPR", "BCE"])
@pytest.mark.parametrize("law", ROW_LAWS)
def test_weights_reach_each_row(law: Callable[[Case], None], loss_type: str) -> None:
    law(build(pointwise(MF) if loss_type == "BCE" else MF, loss_type, loss_type=loss_type))


def test_it_is_found_by_name() -> None:
    assert find_model("MF") is MF


def test_it_answers_the_queries_of_other_sequential_models() -> None:
    """The same windows in the same order, for training, validation and test."""
    ours, theirs = (assemble(model, train_neg_sample_args=None)[1] for model in ("MF", "GRU4Rec"))
    for mine, other in zip(ours, theirs):
        for name in ("user_id", "item_id", "item_id_list"):
            a, b = (loader.dataset.inter_feat[name][:] for loader in (mine, other))
            assert torch.equal(a, b)


@pytest.mark.parametrize("weighting", ["none", "atjt"])
def test_it_trains(weighting: str) -> None:
    result, trainer = train("MF", weighting, epochs=8, learning_rate=0.05)
    losses = list(trainer.train_loss_dict.values())
    assert losses[-1] < losses[0]
    assert result.model == "MF"
    rows = 31 + 41  # users, items, padding
    assert result.parameters["recommender"] == 8 * rows


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"eval_args": {"split": {"US": [0.7, 0.1, 0.2]}, "order": "TO", "mode": "full"}},
            "MF cannot serve since it reads no history; use RS or LS",
        ),
        ({"loss_type": "NLL"}, "loss_type=NLL"),
    ],
)
def test_what_does_not_go_is_refused(changes: dict[str, Any], line: str) -> None:
    def prepare() -> MF:
        config = DenoisingConfig(MF, "tiny", config_dict=settings(**changes))
        return MF(config, prepare_loaders(config, create_dataset(config))[0].dataset)

    with pytest.raises(UsageError) as caught:
        prepare()
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
