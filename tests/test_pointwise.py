"""Eq. 1: sequential models trained on clicked and sampled items."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recbole.model.context_aware_recommender import WideDeep
from recbole.model.sequential_recommender import DIEN, DIN, SASRec
from recbole.utils import InputType

from recbole_atjt.errors import UsageError
from recbole_atjt.model.pointwise import pointwise
from tests.contracts import loss_of, scores, some_weights
from tests.models import SEQUENTIAL, bce, build, every_loss_type, make_config
from tests.tiers import fast

REFUSED = {"GRU4RecCPR", "SASRecCPR"}
LABELLED = {"DIN", "DIEN"}
MADE = sorted(set(SEQUENTIAL) - REFUSED - LABELLED)
FEW = ["BERT4Rec", "GRU4Rec", "S3Rec", "SASRec", "TransRec"]


def test_27_models_gain_it_and_2_have_it() -> None:
    assert len(MADE) == 27


@pytest.mark.parametrize("name", MADE)
def test_loss_is_eq_1(name: str) -> None:
    case = bce(name)
    model = case.model.eval()
    score, label = model.predict(case.batch).double(), case.batch["label"]
    model.train()
    assert set(label.tolist()) == {0.0, 1.0}
    probability = score if name == "RepeatNet" else score.sigmoid()
    expected = -sum(
        (p if y else 1 - p).clamp(min=1e-40).log().clamp(min=-100).item()
        for p, y in zip(probability, label)
    )
    model.eval()
    found = model.calculate_loss(case.batch).item()
    model.train()
    assert found == pytest.approx(expected / len(label), rel=1e-4)


@pytest.mark.parametrize("name", fast(MADE, FEW))
def test_it_learns(name: str) -> None:
    case = bce(name)
    model = type(case.model)(case.config, case.dataset).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model.calculate_loss(case.batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", fast(MADE, FEW))
def test_parameters_and_predictions_are_those_of_the_bare_model(name: str) -> None:
    case = bce(name)
    bare = next(iter(every_loss_type(name)))
    assert type(case.model).__name__ == type(bare.model).__name__ == name
    assert list(case.model.state_dict()) == list(bare.model.state_dict())
    fresh = copy.copy(case)
    fresh.model = type(bare.model)(bare.config, bare.dataset)
    fresh.model.load_state_dict(case.model.state_dict())
    assert all(torch.equal(x, y) for x, y in zip(scores(case), scores(fresh)))


@pytest.mark.parametrize("given", [{"loss_type": "BCE"}, {}], ids=["given", "missing"])
@pytest.mark.parametrize("name", ["SASRec", "FPMC", "TransRec"])
def test_config_reads_as_before(name: str, given: dict[str, Any]) -> None:
    case = bce(name)
    config = make_config(type(case.model), **given)
    if not given:
        config.final_config_dict.pop("loss_type", None)
    before = dict(config.final_config_dict)
    type(case.model)(config, case.dataset)
    assert config.final_config_dict == before
    assert ("loss_type" in config) == bool(given)


def test_config_reads_as_before_when_construction_fails() -> None:
    case = bce("SASRec")
    config = make_config(type(case.model), loss_type="BCE", n_heads=3)
    with pytest.raises(ValueError, match="multiple of the number of attention"):
        type(case.model)(config, case.dataset)
    assert config["loss_type"] == "BCE"


def test_the_class_says_what_it_is() -> None:
    made = pointwise(SASRec)
    assert made.input_type == InputType.POINTWISE
    assert issubclass(made, SASRec)
    assert (made.__name__, made.__module__) == ("SASRec", SASRec.__module__)


@pytest.mark.parametrize("model_class", [DIN, DIEN, WideDeep])
def test_models_that_train_on_labels_stay(model_class: type) -> None:
    assert pointwise(model_class) is model_class


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_models_that_score_no_single_item_are_refused(name: str) -> None:
    case = build(name, loss_type="CE")
    with pytest.raises(UsageError, match=f"^model={name} [^\n]*use loss_type=CE$"):
        pointwise(type(case.model))


def test_pretraining_keeps_its_own_loss() -> None:
    plain, made = build("S3Rec"), build(pointwise(type(build("S3Rec").model)), loss_type="BCE")
    made.batch = plain.batch
    made.model.load_state_dict(plain.model.state_dict())
    weights = some_weights(plain)
    assert loss_of(made, weights)[0].item() == loss_of(plain, weights)[0].item()
