"""A model asked for other scores in the middle of a training step, undisturbed by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.seam.other_histories import OtherHistories

_SMALL = {"train_batch_size": 512, "show_progress": False, "user_inter_num_interval": "[20,40]"}


def build(model: str, tmp_path: Any, **keys: Any) -> tuple[Any, Any, Any]:
    ready = assemble(DenoisingConfig(model, "ml-100k", None, {**_SMALL, **keys}), tmp_path)
    batch = next(iter(ready.train_data))
    bare = getattr(ready.model, "recommender", ready.model)
    return bare, batch, OtherHistories(bare, ready.train_data._dataset)


@pytest.mark.parametrize(
    ("model", "keys"),
    [("BPR", {}), ("SASRec", {"loss_type": "BPR"}), ("LightGCN", {})],
)
def test_scores_of_all_items_are_those_of_full_ranking(
    model: str, keys: dict[str, Any], tmp_path: Any
) -> None:
    bare, batch, others = build(model, tmp_path, **keys)
    bare.eval()
    rows = torch.tensor([3, 0, 7])
    found = others.all_items(batch, rows)
    assert found.shape == (3, bare.n_items)
    rows = torch.randperm(len(batch))[:50].argsort()  # of the first 50 targets
    found = others.all_items(batch, rows)
    single = others.swapped(batch, rows)
    assert torch.allclose(found[torch.arange(50), batch["item_id"][:50]], single, atol=1e-4)


def test_dropout_works_as_in_the_step_and_is_given_back(tmp_path: Any) -> None:
    bare, batch, others = build("WideDeep", tmp_path, dropout_prob=0.5)
    inside = dict(bare.named_modules())
    rows = torch.arange(100)
    bare.train()
    once, again = (others.swapped(batch, rows) for _ in range(2))
    assert torch.equal(once, again)  # random numbers are as before
    torch.rand(1)
    assert not torch.allclose(once, others.swapped(batch, rows))
    bare.eval()
    assert not torch.allclose(once, others.swapped(batch, rows))
    assert dict(bare.named_modules()) == inside


def test_a_context_model_scores_single_items_with_their_features(tmp_path: Any) -> None:
    load = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    bare, batch, others = build("WideDeep", tmp_path, load_col=load)
    assert not others.scores_all
    assert others.item_fields == ["item_id", "class"]
    bare.eval()
    mixed = batch[torch.tensor([1, 2, 0])]
    for field in others.item_fields:
        mixed.interaction[field] = batch[field][:3]
    expected = bare.predict(mixed)
    found = others.swapped(batch, torch.tensor([1, 2, 0]))
    assert torch.allclose(found.sigmoid(), expected, atol=1e-5)


def test_the_model_and_the_random_numbers_are_as_before(tmp_path: Any) -> None:
    bare, batch, others = build("LightGCN", tmp_path)
    bare.norm = nn.BatchNorm1d(3)
    others = OtherHistories(
        bare, type("Data", (), {"item_num": bare.n_items, "iid_field": "item_id"})
    )
    bare.train()
    state, attributes = torch.get_rng_state(), dict(vars(bare))
    others.all_items(batch, torch.tensor([0, 1]))
    assert torch.equal(state, torch.get_rng_state())
    assert bare.norm.training
    assert vars(bare).keys() == attributes.keys()
    assert bare.restore_user_e is attributes["restore_user_e"] is None
