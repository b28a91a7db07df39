"""Pairs that nobody trains on: which they are, their ranks, and the items that they accuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.held_out import HeldOutPairs

ITEMS, USERS = 60, 400
#: A small WideDeep on the busy users of ml-100k.
#: The likelihood alone: nobody tells of noise before the training.
ALONE: dict[str, Any] = {"weighting": "channel", "channel_asks_neighbors": False}
WIDE: dict[str, Any] = {
    "train_batch_size": 512,
    "learning_rate": 0.01,
    "mlp_hidden_size": [32],
    "embedding_size": 16,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "user_inter_num_interval": "[60,160]",
    "item_inter_num_interval": "[20,inf)",
    "show_progress": False,
}


def clicks(
    user: Tensor, item: Tensor, scores: Tensor, under: Callable[[Tensor, Tensor], Tensor] | None
) -> Evidence:
    """Return a batch of clicks that score as the table ``[USERS, ITEMS]`` says."""
    own = scores[user, item]
    return Evidence(
        functional.binary_cross_entropy_with_logits(own, torch.ones_like(own), reduction="none"),
        user,
        item,
        label=torch.ones_like(own),
        under=under,
        knows_users=True,
    )


def epoch(pairs: HeldOutPairs, noisy_items: int, batches: int = 12) -> None:
    """Show clicks of users who like the items of their parity; some items anybody clicks on."""
    generator = torch.Generator().manual_seed(3)
    taste = torch.where(
        (torch.arange(USERS).unsqueeze(1) + torch.arange(ITEMS).unsqueeze(0)) % 2 == 0, 3.0, 0.0
    )
    scores = taste + torch.randn(USERS, ITEMS, generator=generator)
    pairs.start()
    for _ in range(batches):
        user = torch.randint(USERS, (1000,), generator=generator)
        item = torch.randint(1, ITEMS // 2, (1000,), generator=generator) * 2 - (user % 2)
        if noisy_items:  # three clicks of ten
            anybody = torch.randint(1, noisy_items + 1, (1000,), generator=generator)
            item = torch.where(torch.rand(1000, generator=generator) < 0.3, anybody, item)

        def under(row: Tensor, target: Tensor, user: Tensor = user, item: Tensor = item) -> Tensor:
            return scores[user[row], item[target]]

        evidence = clicks(user, item, scores, under)
        pairs.notice(evidence)
        assert pairs.active
        pairs.watch(evidence, generator)


@pytest.mark.parametrize("part", [0.05, 0.3])
def test_the_part_that_is_held_out_is_as_large_as_asked_for_each_user_and_item(part: float) -> None:
    pairs = HeldOutPairs(ITEMS, part)
    held = pairs.holds(torch.arange(3000).unsqueeze(1), torch.arange(1, 500).unsqueeze(0)).double()
    assert float(held.mean()) == pytest.approx(part, abs=0.002)
    assert float(held.mean(0).std()) == pytest.approx((part * (1 - part) / 3000) ** 0.5, rel=0.2)
    assert float(held.mean(1).std()) == pytest.approx((part * (1 - part) / 499) ** 0.5, rel=0.2)
    again = HeldOutPairs(ITEMS, part).holds(torch.tensor([7]), torch.arange(1, 500)).double()
    assert torch.equal(held[7], again)


def test_items_that_anybody_clicks_on_are_found_and_no_others() -> None:
    pairs = HeldOutPairs(ITEMS, 0.2)
    epoch(pairs, noisy_items=4)
    share = pairs.shares()
    assert bool((share[1:5] > 0.6).all())  # an item's own clicks are among them
    assert bool((share[5:] < 0.1).all())
    ranks = pairs.ranks[1:5].sum(0) / pairs.ranks[1:5].sum()
    assert float((ranks - 0.1).abs().max()) < 0.05  # uniform


def test_where_all_clicks_fit_their_users_nothing_is_found() -> None:
    pairs = HeldOutPairs(ITEMS, 0.2)
    epoch(pairs, noisy_items=0)
    assert float(pairs.shares().max()) == 0.0


def test_a_model_that_knows_nothing_accuses_nobody() -> None:
    pairs, generator = HeldOutPairs(ITEMS, 0.2), torch.Generator().manual_seed(1)
    pairs.start()
    user = torch.randint(USERS, (3000,), generator=generator)
    item = torch.randint(1, ITEMS, (3000,), generator=generator)
    scores = torch.zeros(USERS, ITEMS)
    evidence = clicks(user, item, scores, lambda row, target: scores[user[row], item[target]])
    pairs.notice(evidence)
    pairs.watch(evidence, generator)
    assert float(pairs.ranks.sum()) > 100
    assert float(pairs.shares().max()) == 0.0


def test_users_whose_history_has_the_item_are_not_compared_with() -> None:
    pairs, user = HeldOutPairs(ITEMS, 0.5), torch.arange(200)
    item = torch.full((200,), 3)
    scores = torch.zeros(USERS, ITEMS)
    seen: list[Tensor] = []

    def under(row: Tensor, target: Tensor) -> Tensor:
        seen.append(row)
        return scores[user[row], item[target]]

    history = torch.where(user.unsqueeze(1) < 100, 3, 5).expand(200, 2)
    evidence = Evidence(**{**vars(clicks(user, item, scores, under)), "history": history})
    pairs.notice(evidence)
    pairs.watch(evidence, torch.Generator().manual_seed(1))
    assert int(torch.cat(seen).min()) >= 100


def test_no_loss_sees_a_held_out_pair() -> None:
    pairs = HeldOutPairs(ITEMS, 0.4)
    user, item = torch.arange(6), torch.tensor([1, 2, 3, 4, 5, 6])
    negative = torch.tensor([7, 8, 9, 10, 11, 12] * 2)
    scores = torch.zeros(USERS, ITEMS)
    evidence = clicks(user, item, scores, lambda row, target: scores[user[row], item[target]])
    loss = torch.cat((evidence.loss, torch.ones(12)))
    label = torch.cat((torch.ones(6), torch.zeros(12)))
    evidence = Evidence(**{**vars(evidence), "loss": loss, "label": label, "negative": negative})
    pairs.notice(evidence)
    weights = pairs.leave_out(torch.full((6,), 0.5), evidence)
    own = pairs.holds(user, item)
    held = torch.cat((own, own.repeat(2) | pairs.holds(user.repeat(2), negative)))
    assert int(own.sum()) * 3 < int(held.sum()) < 18
    assert torch.equal(weights, torch.where(held, 0.0, 0.5))
    with torch.no_grad():
        assert torch.equal(pairs.leave_out(weights, evidence), weights)  # nobody learns


@pytest.mark.parametrize(
    ("model", "keys", "known"),
    [
        ("WideDeep", {}, True),
        ("WideDeep", {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}, True),
        ("BPR", {}, False),  # scores all items at once
        ("GRU4Rec", {}, False),
    ],
)
def test_which_models_know_their_users(
    model: str, keys: dict[str, Any], known: bool, tmp_path: Any
) -> None:
    small = {"train_batch_size": 512, "show_progress": False, "user_inter_num_interval": "[20,40]"}
    ready = assemble(DenoisingConfig(model, "ml-100k", None, {**small, **keys, **ALONE}), tmp_path)
    batch = next(iter(ready.train_data))
    ready.model.calculate_loss(batch)
    state = torch.get_rng_state()
    assert ready.model._others.knows_users(batch, "user_id") is known
    assert torch.equal(state, torch.get_rng_state())
    assert ready.model.weighting.mixture.pairs.active is known
    assert bool(ready.model.weighting.mixture.pairs.ranks.sum() > 0) is known


def ranked(pairs: HeldOutPairs, mean: float, clicks: int = 4000) -> bool:
    """Pass an epoch in which held-out clicks have this mean rank; return whether pairs go free."""
    high = round(clicks * mean)
    pairs.start()
    pairs.ranks.zero_()
    pairs.ranks[3, 0], pairs.ranks[3, -1] = clicks - high, high
    return pairs.release()


def test_pairs_are_held_out_until_their_ranks_have_stopped_rising() -> None:
    pairs = HeldOutPairs(ITEMS, 0.2)
    assert not pairs.release()  # nothing is seen yet
    assert not ranked(pairs, 0.51)
    assert not ranked(pairs, 0.51)  # no longer rising, but what it is may be chance
    assert [ranked(pairs, mean) for mean in (0.6, 0.7, 0.8, 0.83)] == [False] * 4
    assert ranked(pairs, 0.835)


def test_a_rank_that_few_clicks_have_may_be_chance() -> None:
    few, many = HeldOutPairs(ITEMS, 0.2), HeldOutPairs(ITEMS, 0.2)
    assert [ranked(few, 0.6, 20), ranked(few, 0.6, 20)] == [False, False]
    assert [ranked(many, 0.6), ranked(many, 0.6)] == [False, True]


def test_pairs_that_were_released_are_trained_on_and_no_longer_watched() -> None:
    pairs, generator = HeldOutPairs(ITEMS, 0.4), torch.Generator().manual_seed(1)
    user, item = torch.arange(USERS), torch.arange(USERS) % 50 + 1
    scores = torch.zeros(USERS, ITEMS)
    evidence = clicks(user, item, scores, lambda row, target: scores[user[row], item[target]])
    ranked(pairs, 0.8)
    pairs.notice(evidence)
    weights = torch.full((USERS,), 0.5)
    assert bool((pairs.leave_out(weights, evidence) == 0).any())
    assert ranked(pairs, 0.8)
    again = HeldOutPairs(ITEMS, 0.4)
    again.load_state_dict(pairs.state_dict())
    for one in (pairs, again):  # as one goes on, or is resumed
        one.start()
        one.notice(evidence)
        ranks = one.ranks.clone()
        one.watch(evidence, generator)
        assert torch.equal(one.ranks, ranks)
        assert one.leave_out(weights, evidence) is weights


@pytest.mark.parametrize(
    "changes",
    [ALONE, {"weighting": "atjt", "atjt_recognizer_reads": "likelihood"}],
)
def test_a_model_that_knows_its_users_begins_again_with_all_pairs(
    changes: dict[str, Any], tmp_path: Any
) -> None:
    keys = {**WIDE, **changes, "plant": "clickbait:0.3", "plant_items": 5}
    keys["epochs"] = 12
    ready = assemble(DenoisingConfig("WideDeep", "ml-100k", None, keys), tmp_path)
    ready.trainer.fit(ready.train_data, None, verbose=False, saved=False)
    begun = ready.trainer.epochs - 12
    assert 3 < begun < 12
    held, free = ready.trainer.history[:begun], ready.trainer.history[begun:]
    assert len(free) == 12
    assert {epoch["mean_weight"] for epoch in held} == {1.0}
    assert {epoch["weighted_share"] for epoch in held[:-1]} == {0.0}
    assert {epoch["weighted_share"] for epoch in free} == {held[-1]["weighted_share"]}
    assert 0.15 < held[-1]["weighted_share"] < 0.4
    assert all(0.6 < epoch["mean_weight"] < 0.9 for epoch in free)


@pytest.mark.parametrize(
    ("weighting", "plant", "apart"),
    [
        ("channel", "clickbait:0.3", 0.8),
        ("atjt", "clickbait:0.3", 0.8),
        ("atjt", "popular:0.35", 0.1),
        ("atjt", "uniform:0.35", 0.1),
    ],
)
def test_no_pair_is_held_out_where_neighbours_tell_of_the_noise(
    weighting: str, plant: str, apart: float, tmp_path: Any
) -> None:
    keys = {**WIDE, "weighting": weighting, "plant": plant, "plant_items": 5, "epochs": 2}
    ready = assemble(DenoisingConfig("WideDeep", "ml-100k", None, keys), tmp_path)
    ready.trainer.fit(ready.train_data, None, verbose=False, saved=False)
    assert ready.trainer.epochs == len(ready.trainer.history) == 2
    for epoch in ready.trainer.history:
        assert 0.2 < epoch["weighted_share"] < 0.45
        assert epoch["false_positive"] < epoch["true_positive"] - apart


def beside_plain(strategy: dict[str, Any], epochs: int, folder: Any) -> list[Any]:
    """Train plainly and with a strategy; return both trainers."""
    trained = []
    for changes in ({"weighting": "none"}, strategy):
        keys = {**WIDE, "epochs": epochs, **changes}
        place = folder / str(changes["weighting"])
        ready = assemble(DenoisingConfig("WideDeep", "ml-100k", None, keys), place)
        ready.trainer.fit(ready.train_data, ready.valid_data, verbose=False)
        trained.append(ready.trainer)
    return trained


@pytest.mark.parametrize("weighting", ["atjt", "channel"])
def test_where_neighbours_show_no_noise_training_is_plain_at_once(
    weighting: str, tmp_path: Any
) -> None:
    plain, told = beside_plain({"weighting": weighting}, 2, tmp_path)
    assert told.epochs == plain.epochs
    assert [epoch["noise_share"] for epoch in told.history] == [0.0, 0.0]
    assert told.progress == plain.progress
    for name, value in plain.bare_model.state_dict().items():
        assert torch.equal(told.bare_model.state_dict()[name], value), name


@pytest.mark.parametrize("epochs", [2, 12])
def test_where_they_find_nothing_training_is_plain_in_the_end(epochs: int, tmp_path: Any) -> None:
    """Also where it ends before they have told all that they can: it begins again all the same."""
    plain, channel = beside_plain(ALONE, epochs, tmp_path)
    begun = channel.epochs - epochs
    assert 0 < begun <= epochs
    assert [epoch["valid"] for epoch in channel.progress[begun:]] == [
        epoch["valid"] for epoch in plain.progress
    ]
    assert channel.best_epoch == plain.best_epoch + begun
    assert channel.best_valid_result == plain.best_valid_result
    for name, value in plain.bare_model.state_dict().items():
        assert torch.equal(channel.bare_model.state_dict()[name], value), name
