"""Replaced sequences: what may and what may not change."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.corruption import Corruption


def _sequences(rows: int, length: int, items: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    history = torch.randint(1, items, (rows, length), generator=generator)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    history = history * (torch.arange(length) < lengths)
    return history, torch.randint(1, items, (rows,), generator=generator)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(2, 40),
    length=st.integers(1, 8),
    items=st.integers(3, 12),
    count=st.integers(1, 10),
    share=st.floats(0.05, 0.95),
    replace=st.sampled_from(["history", "target", "both"]),
    source=st.sampled_from(["uniform", "popularity"]),
    seed=st.integers(0, 10_000),
)
def test_laws(
    rows: int,
    length: int,
    items: int,
    count: int,
    share: float,
    replace: str,
    source: str,
    seed: int,
) -> None:
    history, target = _sequences(rows, length, items, seed)
    frequency = torch.arange(items)
    corruption = Corruption(frequency, replace, source, count, share)
    generator = torch.Generator().manual_seed(seed)
    before = (history.clone(), target.clone())
    new_history, new_target, label = corruption.corrupt(history, target, generator)

    assert torch.equal(history, before[0]), "the caller's history is left alone"
    assert torch.equal(target, before[1]), "the caller's target is left alone"
    assert torch.equal(new_history == 0, history == 0), "padding stays, and nothing becomes padding"
    assert new_history.max() < items
    assert 1 <= new_target.min() <= new_target.max() < items
    changed = (new_history != history).sum(1)
    moved = new_target != target
    assert torch.equal(label == 0, (changed > 0) | moved), "labels say what changed"
    assert int((label == 0).sum()) == max(1, round(share * rows))
    lengths = (history != 0).sum(1)
    if replace == "history":
        assert not moved.any()
        assert torch.equal(changed[label == 0], lengths[label == 0].clamp(max=count))
    elif replace == "target":
        assert not changed.any()
    else:
        assert not (moved & (changed > 0)).any()


def test_uniform_draws_reach_every_other_item_equally() -> None:
    corruption = Corruption(torch.ones(6))
    drawn = corruption.draw(torch.full((50_000,), 3))
    share = torch.bincount(drawn, minlength=6) / 50_000
    expected = torch.tensor([0.0, 0.25, 0.25, 0.0, 0.25, 0.25])
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)


def test_popular_draws_follow_the_frequencies_of_the_others() -> None:
    corruption = Corruption(torch.tensor([99, 1, 2, 5, 2]), source="popularity")
    drawn = corruption.draw(torch.full((50_000,), 3))
    share = torch.bincount(drawn, minlength=5) / 50_000
    torch.testing.assert_close(share, torch.tensor([0.0, 0.2, 0.4, 0.0, 0.4]), atol=0.01, rtol=0)


def test_both_replaces_either() -> None:
    history, target = _sequences(1000, 5, 30, seed=1)
    changed = Corruption(torch.ones(30), replace="both", share=0.9).corrupt(history, target)
    assert (changed[0] != history).any(1).float().mean() == pytest.approx(0.45, abs=0.06)
    assert (changed[1] != target).float().mean() == pytest.approx(0.45, abs=0.06)


def test_one_item_cannot_be_replaced() -> None:
    with pytest.raises(UsageError, match="at least 2 items"):
        Corruption(torch.tensor([0, 5]))
