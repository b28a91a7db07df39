"""The wrapped recommender: trained on weighted sequences, otherwise the bare model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_atjt import DenoisingRecommender, DenoisingTrainer, UsageError
from recbole_atjt.data.loaders import PairedBatch
from recbole_atjt.weighting.base import Evidence, NoSettings, Weighting
from tests.runs import assemble

LITERAL = {
    "weighting": "atjt",
    "atjt_evidence": "own",
    "atjt_alpha": 0.3,
    "atjt_normalize": "none",
    "atjt_strength": 1.0,
    "atjt_joint_gradient": True,
    "atjt_recognizer_dropout": 0.0,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
}
NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}


def assembled(model: str = "SASRec", **changes: Any) -> tuple[DenoisingRecommender, PairedBatch]:
    """Return a wrapped model with the first batch that its trainer would give it."""
    config, (train_data, _, _), wrapped = assemble(model, **{**LITERAL, **changes})
    trainer = DenoisingTrainer(config, wrapped)
    batch = next(iter(trainer.loader_of(train_data)))
    return wrapped.train(), batch


def have_gradient(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


class Fixed(Weighting):
    """Gives the weights it is told."""

    def __init__(self, weights: Any) -> None:
        super().__init__(NoSettings(), torch.ones(3))
        self.weights = weights
        self.seen: list[Evidence] = []

    def weigh(self, evidence: Evidence) -> Tensor:
        self.seen.append(evidence)
        weights: Tensor = self.weights(evidence)
        return weights


def with_fixed(weights: Any, model: str = "SASRec", **changes: Any) -> tuple[Any, Any, Fixed]:
    config, (train_data, _, _), bare = assemble(model, weighting="none", **changes)
    strategy = Fixed(weights)
    wrapped = DenoisingRecommender(bare, config, train_data._dataset, strategy)
    return wrapped, next(iter(train_data)), strategy


def per_sample_ce(model: Any, batch: Any) -> Tensor:
    """Softmax cross-entropy of each row, by the definition."""
    output = model.forward(batch["item_id_list"], batch["item_length"])
    logits = output @ model.item_embedding.weight.T
    chosen = logits.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1)
    return logits.logsumexp(dim=1) - chosen


@pytest.mark.parametrize("groups", [2, 3])
def test_the_step_is_l_r_plus_alpha_l_d_by_hand(groups: int) -> None:
    wrapped, batch = assembled(atjt_groups=groups)
    strategy, (history, target) = wrapped.weighting, batch.others
    recognizer = strategy.recognizer(batch.group)
    torch.manual_seed(5)
    main, auxiliary = wrapped.calculate_loss(batch)

    weights = torch.sigmoid(recognizer(batch["item_id_list"], batch["item_id"]))
    by_hand = (weights * per_sample_ce(wrapped.recommender, batch)).sum() / len(batch)
    assert main.item() == pytest.approx(by_hand.item(), rel=1e-5)
    torch.manual_seed(5)
    changed, other, label = strategy.corruption.corrupt(history, target)
    chance = torch.sigmoid(recognizer(changed, other))
    entropy = -(label * chance.log() + (1 - label) * (1 - chance).log())
    # the N - 1 batches of B^D come as one of their joint size: their mean is 1 / (N - 1) sum L^D
    assert auxiliary.item() == pytest.approx(0.3 * entropy.mean().item(), rel=1e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_only_the_recogniser_of_the_phase_and_the_recommender_get_gradients(joint: bool) -> None:
    wrapped, batch = assembled(atjt_groups=3, atjt_joint_gradient=joint)
    main, auxiliary = wrapped.calculate_loss(batch)
    main.backward(retain_graph=True)
    first, *rest = wrapped.weighting.recognizers
    assert have_gradient(wrapped.recommender)
    assert have_gradient(first) == joint
    wrapped.recommender.zero_grad()
    auxiliary.backward()
    assert have_gradient(first)
    assert not have_gradient(wrapped.recommender)
    assert not any(map(have_gradient, rest))


def test_unit_weights_give_the_bare_loss() -> None:
    wrapped, batch, _ = with_fixed(lambda evidence: torch.ones(len(evidence.item)))
    torch.manual_seed(1)
    weighted = wrapped.calculate_loss(batch)
    torch.manual_seed(1)
    assert weighted.item() == pytest.approx(wrapped.recommender.calculate_loss(batch).item())


@pytest.mark.parametrize(
    ("loss_type", "blocks"), [("CE", 1), ("BPR", 2), ("BCE", 3)], ids=["CE", "BPR", "BCE"]
)
def test_negatives_share_the_weight_of_their_positive(loss_type: str, blocks: int) -> None:
    changes: dict[str, Any] = {"loss_type": loss_type, "hidden_dropout_prob": 0.0}
    changes["attn_dropout_prob"] = 0.0
    if loss_type != "CE":
        changes.update(NEGATIVES)
    config, (train_data, _, _), bare = assemble("SASRec", weighting="none", **changes)
    strategy = Fixed(lambda evidence: 1.0 + evidence.item.float())
    wrapped = DenoisingRecommender(bare, config, train_data._dataset, strategy)
    batch = next(iter(train_data))
    sequences = len(batch) // blocks
    found = wrapped.calculate_loss(PairedBatch(batch, 0, sequences)).item()
    seen = strategy.seen[0]
    assert len(seen.item) == len(seen.user) == sequences
    assert seen.history is not None
    assert len(seen.history) == sequences
    assert len(seen.loss) == len(batch)
    weights = [1.0 + float(item) for item in batch["item_id"][:sequences]]
    rows = range(len(batch))
    by_hand = sum(weights[row % sequences] * seen.loss[row].item() for row in rows) / len(batch)
    assert found == pytest.approx(by_hand, rel=1e-5)


def test_labels_reach_the_strategy_where_there_are_any() -> None:
    changes = {"loss_type": "BCE", **NEGATIVES}
    wrapped, batch, strategy = with_fixed(
        lambda evidence: torch.ones(len(evidence.loss)), **changes
    )
    wrapped.calculate_loss(batch)
    assert strategy.seen[0].label is not None
    assert torch.equal(strategy.seen[0].label, batch["label"])


@pytest.mark.parametrize("model", ["SASRec", "DIN", "WideDeep"])
def test_it_is_the_bare_model_everywhere_but_in_training(model: str) -> None:
    wrapped, batch = assembled(model)
    bare = wrapped.recommender
    assert [*wrapped.state_dict()] == [*bare.state_dict()]
    assert [n for n, _ in wrapped.named_parameters()] == [n for n, _ in bare.named_parameters()]
    assert [id(p) for p in wrapped.parameters()] == [id(p) for p in bare.parameters()]
    assert {id(p) for p in wrapped.weighting.parameters()}.isdisjoint(map(id, bare.parameters()))
    wrapped.eval()
    assert not bare.training
    assert torch.equal(wrapped.predict(batch), bare.predict(batch))
    assert str(wrapped) == str(bare)
    assert wrapped.type == bare.type
    assert wrapped.other_parameter() == bare.other_parameter()
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = wrapped.no_such_thing


def test_full_ranking_is_the_bare_models() -> None:
    wrapped, batch = assembled()
    wrapped.eval()
    assert torch.equal(
        wrapped.full_sort_predict(batch), wrapped.recommender.full_sort_predict(batch)
    )


def test_a_state_of_the_bare_model_is_loaded() -> None:
    wrapped, _ = assembled()
    state = {key: value + 1 for key, value in copy.deepcopy(wrapped.state_dict()).items()}
    wrapped.load_state_dict(state)
    for name, value in wrapped.recommender.state_dict().items():
        assert torch.equal(value, state[name])


def test_training_leaves_the_model_as_it_was() -> None:
    wrapped, batch = assembled()
    before = dict(vars(wrapped.recommender)), dict(wrapped.recommender._modules)
    wrapped.calculate_loss(batch)
    assert (dict(vars(wrapped.recommender)), dict(wrapped.recommender._modules)) == before


def test_a_batch_without_other_sequences_has_an_auxiliary_loss_of_zero() -> None:
    wrapped, batch = assembled()
    batch.others = None
    main, auxiliary = wrapped.calculate_loss(batch)
    assert auxiliary.item() == 0.0
    assert main.item() > 0.0


def test_without_a_strategy_the_wrapper_is_transparent() -> None:
    config, (train_data, _, _), bare = assemble("SASRec", weighting="none")
    wrapped = DenoisingRecommender(bare, config, train_data._dataset)
    batch = next(iter(train_data))
    torch.manual_seed(1)
    loss = wrapped.calculate_loss(batch)
    torch.manual_seed(1)
    assert torch.equal(loss, bare.calculate_loss(batch))


def test_models_without_histories_are_refused() -> None:
    config, (train_data, _, _), bare = assemble("BPR", weighting="none")
    config["weighting"] = "atjt"
    with pytest.raises(UsageError, match=r"weighting=atjt needs histories \(item_id_list\)"):
        DenoisingRecommender(bare, config, train_data._dataset)


def test_models_that_hide_their_loss_are_refused() -> None:
    config, (train_data, _, _), bare = assemble("SASRec", weighting="none")
    config["weighting"] = "atjt"
    del bare.loss_fct
    with pytest.raises(UsageError, match="model=SASRec hides its loss"):
        DenoisingRecommender(bare, config, train_data._dataset)


def test_popularity_is_counted_on_training_targets_only() -> None:
    wrapped, _ = assembled()
    _, (train_data, _, _), _ = assemble("SASRec", weighting="none")
    items = train_data._dataset.inter_feat["item_id"].tolist()
    frequency = wrapped.weighting.item_frequency.tolist()
    assert frequency == [items.count(item) for item in range(train_data._dataset.item_num)]
