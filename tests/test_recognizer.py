"""The recogniser: its attention against the paper's formula, its gradients, its padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recbole_atjt.weighting.recognizer import AttentionPooling, NoiseRecognizer


def _pooled_by_hand(
    pooling: AttentionPooling, embedding: Tensor, history: Tensor, target: Tensor
) -> Tensor:
    """3.3.2 to the letter, one sequence and one position at a time, with e_n || e_T built."""
    first = torch.cat((pooling.key.weight, pooling.query.weight), dim=1)
    rows = []
    for items, query in zip(history, target):
        keys = embedding[items[items != 0]]
        scores = []
        for key in keys:
            hidden = first @ torch.cat((key, query)) + pooling.key.bias
            hidden = pooling.activation(hidden)
            score = pooling.score.linear.weight @ hidden + pooling.score.linear.bias
            scores.append(pooling.score.activation(score))
        scores = torch.cat(scores)
        attention = (
            scores.softmax(0) if pooling.normalization == "softmax" else scores / scores.sum()
        )
        rows.append(attention @ keys)
    return torch.stack(rows)


@pytest.mark.parametrize("normalization", ["softmax", "sum"])
def test_pooling_is_the_papers_formula(normalization: str) -> None:
    pooling = AttentionPooling(size=4, hidden=3, dropout=0.5, normalization=normalization)
    pooling = pooling.double().eval()
    embedding = torch.randn(7, 4, dtype=torch.float64)
    history = torch.tensor([[1, 2, 3, 0, 0], [4, 4, 6, 5, 1], [2, 0, 0, 0, 0]])
    target = torch.randn(3, 4, dtype=torch.float64)
    expected = _pooled_by_hand(pooling, embedding, history, target)
    torch.testing.assert_close(pooling(embedding, history, target), expected)


def test_gradients_are_exact_in_double_precision() -> None:
    pooling = AttentionPooling(size=3, hidden=2, dropout=0.0, normalization="softmax").double()
    history = torch.tensor([[1, 2, 0], [3, 1, 2]])
    embedding = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in pooling.named_parameters()]

    def pooled(embedding: Tensor, target: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters))
        return torch.func.functional_call(pooling, state, (embedding, history, target))

    inputs = (embedding, target, *(p.detach().requires_grad_() for p in pooling.parameters()))
    assert torch.autograd.gradcheck(pooled, inputs)


def test_gradients_with_dropout_equal_those_of_plain_autograd() -> None:
    pooling = AttentionPooling(size=4, hidden=3, dropout=0.5, normalization="softmax")
    history = torch.tensor([[1, 2, 3], [4, 5, 0]])
    embedding = torch.randn(6, 4, requires_grad=True)
    target = torch.randn(2, 4)
    factors = torch.tensor([0.0, 2.0]).repeat(9).view(2, 3, 3)
    pooling.dropout.draw = lambda like: factors  # type: ignore[method-assign]
    pooling.score.dropout = nn.Identity()
    grad = torch.autograd.grad(pooling(embedding, history, target).square().sum(), embedding)

    hidden = pooling.activation(pooling.key(embedding[history]) + pooling.query(target)[:, None])
    scores = pooling.score(hidden * factors).squeeze(-1).masked_fill(history == 0, -torch.inf)
    plain = (scores.softmax(-1).unsqueeze(-1) * embedding[history]).sum(1)
    expected = torch.autograd.grad(plain.square().sum(), embedding)
    torch.testing.assert_close(grad, expected)


def test_padding_changes_nothing() -> None:
    recognizer = NoiseRecognizer(n_items=9).eval()
    target = torch.tensor([5])
    short = recognizer(torch.tensor([[1, 2]]), target)
    padded = recognizer(torch.tensor([[1, 2, 0, 0, 0]]), target)
    torch.testing.assert_close(short, padded)


def test_sizes_of_the_paper() -> None:
    recognizer = NoiseRecognizer(n_items=10, embedding_size=32)
    shapes = {name: tuple(p.shape) for name, p in recognizer.named_parameters()}
    assert shapes["attention.key.weight"] == shapes["attention.query.weight"] == (32, 32)
    assert shapes["attention.score.linear.weight"] == (1, 32)
    widths = [shapes[f"output.{i}.linear.weight"] for i in range(3)]
    assert widths == [(256, 64), (64, 256), (1, 64)]


def test_unknown_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="attention 'max' is unknown"):
        NoiseRecognizer(n_items=5, attention="max")


def test_learns_to_tell_a_planted_replacement() -> None:
    """Users like odd or even items; a replaced target breaks the pattern half of the time."""
    generator = torch.Generator().manual_seed(3)
    taste = torch.randint(0, 2, (512,), generator=generator)
    history = 1 + taste[:, None] + 2 * torch.randint(0, 10, (512, 6), generator=generator)
    own = 1 + taste + 2 * torch.randint(0, 10, (512,), generator=generator)
    target = torch.where(torch.arange(512) % 2 == 0, own, own + 1 - 2 * taste)
    label = (torch.arange(512) % 2 == 0).float()
    recognizer = NoiseRecognizer(n_items=23)
    optimizer = torch.optim.Adagrad(recognizer.parameters(), lr=0.05)
    for _ in range(120):
        optimizer.zero_grad()
        recognizer.recognition_loss(history, target, label).backward()
        optimizer.step()
    weights = torch.sigmoid(recognizer.eval()(history, target))
    assert weights[label == 1].mean() > weights[label == 0].mean() + 0.2


def test_last_layer_of_the_paper_adds_prelu_and_dropout() -> None:
    linear, paper = NoiseRecognizer(n_items=5), NoiseRecognizer(n_items=5, last_layer="paper")
    slopes = {name for name, _ in paper.named_parameters()} - {
        name for name, _ in linear.named_parameters()
    }
    assert slopes == {"output.2.activation.weight", "attention.score.activation.weight"}
    history, target = torch.tensor([[1, 2]] * 200), torch.tensor([3] * 200)
    with torch.no_grad():
        dropped = (paper(history, target) == 0).float().mean().item()
        kept = (linear(history, target) == 0).float().mean().item()
    assert dropped == pytest.approx(0.5, abs=0.15)
    assert kept == 0.0
    with pytest.raises(ValueError, match="last_layer 'none' is unknown"):
        NoiseRecognizer(n_items=5, last_layer="none")


def test_keeps_full_precision_under_autocast() -> None:
    recognizer = NoiseRecognizer(n_items=7)
    history, target = torch.tensor([[1, 2], [3, 0]]), torch.tensor([4, 5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = recognizer.recognition_loss(history, target, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None for p in recognizer.parameters())


def test_scores_that_dropout_takes_whole_pool_nothing() -> None:
    pooling = AttentionPooling(4, 4, 0.5, "sum")
    embedding = torch.randn(5, 4).requires_grad_()
    history, target = torch.tensor([[1, 0, 0]] * 64), torch.randn(64, 4)
    pooled = pooling(embedding, history, target)
    taken = (pooled == 0).all(dim=1)
    assert 0 < taken.sum() < 64
    assert torch.allclose(pooled[~taken], embedding[1].expand_as(pooled[~taken]))
    pooled.sum().backward()
    assert torch.isfinite(embedding.grad).all()
