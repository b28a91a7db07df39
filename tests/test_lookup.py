"""Embeddings with a faster sum of their gradient: torch's own bits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.host.lookup import QuickEmbedding, speed_up_embeddings

_SMALL = {"train_neg_sample_args": None, "user_inter_num_interval": "[20,40]"}


def learned(table: nn.Embedding, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = table(index)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    (found * direction).sum().backward()
    assert table.weight.grad is not None
    return found, table.weight.grad


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("padding", [None, 0, -1])
@pytest.mark.parametrize(("shape", "rows"), [((9000,), 7), ((300, 50), 1700), ((5, 3), 10)])
def test_bits_are_those_of_torch(
    shape: tuple[int, ...], rows: int, padding: Any, threads: int
) -> None:
    before = torch.get_num_threads()
    table = nn.Embedding(rows, 10, padding_idx=padding)
    quick = copy.deepcopy(table)
    assert speed_up_embeddings(quick) == 1
    assert isinstance(quick, QuickEmbedding)
    index = torch.randint(rows, shape, generator=torch.Generator().manual_seed(1))
    index.view(-1)[:2] = torch.tensor([0, rows - 1])
    torch.set_num_threads(threads)
    try:
        for found, expected in zip(learned(quick, index), learned(table, index)):
            assert torch.equal(found, expected)
    finally:
        torch.set_num_threads(before)
    assert list(quick.state_dict()) == ["weight"]
    assert "Lookup" in type(quick(torch.zeros(9000, dtype=torch.long)).grad_fn).__name__


def test_gradients_of_gradients_are_right() -> None:
    table = nn.Embedding(4, 2, padding_idx=1).double()
    speed_up_embeddings(table)
    index = torch.arange(4).repeat(3000)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(table, {"weight": weight}, (index,))
        return (found**3).mean()

    weight = torch.randn(4, 2, dtype=torch.double)
    weight[1] = 0  # padding learns nothing, in the numbers either
    weight.requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,))
    assert torch.autograd.gradgradcheck(loss, (weight,))


@pytest.mark.parametrize(
    "keys", [{"sparse": True}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}]
)
def test_other_tables_stay(keys: dict[str, Any]) -> None:
    assert speed_up_embeddings(nn.Embedding(5, 2, **keys)) == 0


def test_where_nothing_is_learned_it_is_torchs_own() -> None:
    table = nn.Embedding(5, 2)
    speed_up_embeddings(table)
    index = torch.zeros(10_000, dtype=torch.long)
    with torch.no_grad():
        assert table(index).grad_fn is None
    table.requires_grad_(False)
    assert table(index).grad_fn is None


@pytest.mark.parametrize(("weighting", "quick"), [("none", False), ("channel", True)])
def test_plain_training_keeps_torchs_own(weighting: str, quick: bool, tmp_path: Any) -> None:
    config = DenoisingConfig("SASRec", "ml-100k", None, {**_SMALL, "weighting": weighting})
    model = assemble(config, tmp_path).model
    bare = getattr(model, "recommender", model)
    tables = [module for module in bare.modules() if isinstance(module, nn.Embedding)]
    assert tables
    assert all(isinstance(table, QuickEmbedding) == quick for table in tables)
