"""The weighted mean and the sharing of weights with sampled negatives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_atjt.seam.reduction import repeat_for_negatives, weighted_mean

numbers = st.floats(0, 100, width=32)


def test_divides_by_the_batch_not_by_the_weights() -> None:
    loss, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.0, 0.25])
    assert weighted_mean(loss, weights).item() == 0.5  # (1/2 + 0 + 1) / 3


def test_share_counts_samples_as_the_model_does() -> None:
    loss, weights = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.5])
    share = torch.tensor([2 * 3 / 4, 2 * 1 / 4])  # 3 of 4 masked positions are the first's
    expected = (3 * 1 * 1 + 1 * 0.5 * 3) / 4
    assert weighted_mean(loss, weights, share).item() == pytest.approx(expected)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=20))
def test_equals_a_loop(rows: list[tuple[float, float, float]]) -> None:
    loss, weights, share = torch.tensor(rows).unbind(1)
    expected = sum(x * w * s for x, w, s in rows) / len(rows)
    assert weighted_mean(loss, weights, share).item() == pytest.approx(expected, rel=1e-5)


def test_zero_weights_give_zero_and_no_gradient() -> None:
    loss = torch.tensor([1.0, 2.0], requires_grad=True)
    result = weighted_mean(loss, torch.zeros(2))
    assert result.item() == 0
    assert torch.autograd.grad(result, loss)[0].tolist() == [0, 0]


def test_gradients_of_losses_and_weights() -> None:
    values = [torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(weighted_mean, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(dtype: torch.dtype) -> None:
    ones = torch.ones(70_000, dtype=dtype)
    result = weighted_mean(ones, ones)
    assert result.dtype == torch.float32
    assert result.item() == 1


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (1,), (3,), ()], ids=str)
def test_shapes_are_not_broadcast(shape: tuple[int, ...]) -> None:
    ones = torch.ones(2)
    with pytest.raises(ValueError, match="weights has shape"):
        weighted_mean(ones, torch.ones(shape))
    with pytest.raises(ValueError, match="share has shape"):
        weighted_mean(ones, ones, torch.ones(shape))


def test_a_column_of_losses_is_refused() -> None:
    column = torch.ones(2, 1)
    with pytest.raises(ValueError, match=r"loss has shape \(2, 1\)"):
        weighted_mean(column, column)


def test_negatives_share_the_weight_of_their_sequence() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3])
    rows = repeat_for_negatives(weights, 9)
    assert torch.equal(rows, torch.tensor([weights[j % 3] for j in range(9)]))
    assert torch.equal(repeat_for_negatives(weights, 3), weights)


def test_gradients_of_the_rows_add_up() -> None:
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    repeat_for_negatives(weights, 6).mul(torch.arange(6.0)).sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [0 + 2 + 4, 1 + 3 + 5]


@pytest.mark.parametrize("rows", [0, 2, 4, -3])
def test_rows_that_are_no_multiple_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"{rows} rows are no multiple of 3 sequences"):
        repeat_for_negatives(torch.ones(3), rows)


@pytest.mark.parametrize("weights", [torch.ones(0), torch.ones(3, 1), torch.tensor(1.0)], ids=str)
def test_weights_that_are_not_one_per_sequence_are_refused(weights: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="sequence"):
        repeat_for_negatives(weights, 3)
