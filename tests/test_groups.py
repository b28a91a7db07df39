"""Users are dealt into disjoint groups."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_atjt.data.user_groups import deal_users
from recbole_atjt.errors import UsageError


@given(
    users=st.lists(st.integers(1, 30), min_size=8, max_size=80),
    n_groups=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_groups_are_disjoint_and_even(users: list[int], n_groups: int, seed: int) -> None:
    drawn = torch.tensor(users)
    distinct = len(set(users))
    if n_groups > distinct:
        with pytest.raises(UsageError, match=f"the {distinct} users"):
            deal_users(drawn, n_groups, seed)
        return
    groups = deal_users(drawn, n_groups, seed)
    members = [set(drawn[groups == group].tolist()) for group in range(n_groups)]
    assert sum(map(len, members)) == distinct, "no user is in two groups"
    assert set().union(*members) == set(users)
    assert max(map(len, members)) - min(map(len, members)) <= 1
    assert torch.equal(groups, deal_users(drawn, n_groups, seed)), "a seed deals the same"


def test_one_group_is_refused() -> None:
    with pytest.raises(UsageError, match="groups=1: at least 2"):
        deal_users(torch.tensor([1, 2, 3]), 1, 0)


def test_seeds_deal_differently() -> None:
    users = torch.arange(1, 101)
    assert not torch.equal(deal_users(users, 2, 1), deal_users(users, 2, 2))
