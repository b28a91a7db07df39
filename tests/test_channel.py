"""The noise channel: posteriors by hand, shares that are learned, wrong settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.channel import NoiseChannel
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.table import build_weighting
from tests.random_users import BAIT, ITEMS, clicks_of, with_bait

FREQUENCY = torch.tensor([0, 6, 2, 2])


def build(**changes: Any) -> NoiseChannel:
    built = build_weighting({"weighting": "channel", "channel_warmup": 0, **changes}, FREQUENCY)
    assert isinstance(built, NoiseChannel)
    return built


def softmax_evidence(likelihood: list[float], item: list[int], epoch: int = 0) -> Evidence:
    loss = -torch.tensor(likelihood).log()
    return Evidence(loss, torch.arange(len(item)), torch.tensor(item), epoch=epoch)


def test_the_posterior_by_hand() -> None:
    channel = build(channel_share=0.25)
    channel.mixture.noise.copy_(torch.tensor([0.0, 0.5, 0.25, 0.25]))
    weights = channel(softmax_evidence([0.5, 0.05], [1, 2]))
    # (3/4 * 1/2) / (3/4 * 1/2 + 1/4 * 1/2) = 3/4, (3/4 * 1/20) / (3/4 * 1/20 + 1/4 * 1/4) = 3/8
    assert weights.tolist() == pytest.approx([3 / 4, 3 / 8])


def test_a_naive_loop_says_the_same() -> None:
    channel, likelihood, items = build(channel_share=0.3), [0.9, 0.2, 0.01, 0.4], [1, 2, 3, 1]
    weights = channel(softmax_evidence(likelihood, items)).tolist()
    q = channel.mixture.noise.tolist()
    for weight, p, item in zip(weights, likelihood, items):
        assert weight == pytest.approx(0.7 * p / (0.7 * p + 0.3 * q[item]), rel=1e-5)


def test_the_noise_starts_from_the_items_frequencies() -> None:
    assert build().mixture.noise.tolist() == pytest.approx([0, 6.5 / 11.5, 2.5 / 11.5, 2.5 / 11.5])


def test_without_noise_every_sequence_weighs_1() -> None:
    assert build(channel_share=0.0)(softmax_evidence([0.5, 1e-6], [1, 2])).tolist() == [1.0, 1.0]


def test_the_warmup_is_plain_and_learns() -> None:
    channel, seen = build(channel_warmup=1, channel_cap=0.9), ([0.9, 0.001], [1, 2])
    channel.start_epoch(0)
    assert channel(softmax_evidence(*seen)).tolist() == [1.0, 1.0]
    channel.end_epoch(0)
    noise = channel.mixture.noise
    assert noise[2] > noise[1]
    assert float(channel(softmax_evidence(*seen, epoch=1))[1]) < 0.1


def test_weights_use_what_of_the_share_has_settled() -> None:
    channel, seen = build(channel_warmup=1, channel_cap=0.9), ([0.9, 0.001], [1, 2])
    for epoch in range(2):
        channel.start_epoch(epoch)
        weights = channel(softmax_evidence(*seen, epoch=epoch))
        before, q = channel.mixture.shares(), channel.mixture.noise.tolist()
        channel.end_epoch(epoch)
    e, shown = before["weighted_share"], channel.describe()
    assert e == pytest.approx(2 * before["noise_share"] - 1), "before it was learned, e was 1"
    expected = [(1 - e) * p / ((1 - e) * p + e * q[item]) for p, item in zip(*seen)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    e, f = before["noise_share"], shown["noise_share"]
    posteriors = [e * q[item] / ((1 - e) * p + e * q[item]) for p, item in zip(*seen)]
    assert f == pytest.approx(sum(posteriors) / 2, rel=1e-5), "e is learned with e itself"
    assert shown["weighted_share"] == pytest.approx(f - abs(f - e))


def test_a_share_at_the_cap_weighs_nothing_down() -> None:
    channel, seen = build(channel_warmup=1), ([0.9, 0.001], [1, 2])
    channel.start_epoch(0)
    channel(softmax_evidence(*seen))
    channel.end_epoch(0)
    assert channel.mixture.shares() == {"noise_share": 0.6, "weighted_share": 0.0}
    assert channel(softmax_evidence(*seen, epoch=1)).tolist() == [1.0, 1.0]


def test_what_is_said_of_a_click_takes_the_share_as_it_was_learned() -> None:
    channel, seen = build(channel_warmup=1), softmax_evidence([0.9, 0.001], [1, 2], epoch=1)
    channel.mixture.share.fill_(0.25)
    channel.mixture.settled.value.fill_(0.0)
    said = channel.judge(seen)
    assert said.weight.tolist() == [1.0, 1.0]
    q = channel.mixture.noise.tolist()
    expected = [0.25 * q[1] / (0.75 * 0.9 + 0.25 * q[1]), 0.25 * q[2] / (0.00075 + 0.25 * q[2])]
    assert said.noise is not None
    assert said.noise.tolist() == pytest.approx(expected, rel=1e-5)


def test_the_share_is_the_mean_of_the_noises_posteriors() -> None:
    channel = build(channel_share=0.25)
    channel.start_epoch(0)
    clean = channel(softmax_evidence([0.5, 0.05, 0.3], [1, 2, 3]))
    channel.end_epoch(0)
    assert channel.describe()["noise_share"] == pytest.approx(float(1 - clean.mean()), rel=1e-5)
    assert math.isclose(float(channel.mixture.noise.sum()), 1.0, rel_tol=1e-6)


def test_a_share_that_is_not_learned_stays() -> None:
    channel = build(channel_share=0.25, channel_learn=False)
    channel(softmax_evidence([0.5, 0.05], [1, 2]))
    channel.end_epoch(0)
    assert channel.mixture.shares() == {"noise_share": 0.25, "weighted_share": 0.25}


def told_of(clicks: Clicks, **changes: Any) -> tuple[NoiseChannel, Evidence]:
    """Return a channel that has met clicks, in its first epoch, and a batch of single scores."""
    built = build_weighting({"weighting": "channel"}, torch.bincount(clicks.item, minlength=ITEMS))
    assert isinstance(built, NoiseChannel)
    assert built.reads_clicks
    built.meet(lambda: clicks)
    built.start_epoch(0)
    size = len(clicks.item)
    return built, Evidence(
        torch.ones(size), clicks.user, clicks.item, **{"label": torch.ones(size), **changes}
    )


def test_a_model_without_a_softmax_begins_with_items_that_neighbours_tell() -> None:
    clicks, _ = with_bait(0.3)
    channel, seen = told_of(clicks)
    weights, bait = channel(seen), clicks.item <= BAIT
    assert channel.mixture.shares() == pytest.approx(
        {"noise_share": 0.3, "weighted_share": 0.3}, abs=0.03
    )
    assert float(weights[bait].mean()) < 0.15 < 0.97 < float(weights[~bait].mean())
    channel.end_epoch(0)
    assert not channel.begins_again


def test_told_that_there_is_no_noise_it_trains_plainly_from_the_first_batch_on() -> None:
    channel, seen = told_of(clicks_of(0.0))
    assert not channel.passes
    assert channel(seen).tolist() == [1.0] * len(seen.item)
    assert channel.passes


def test_a_softmax_finds_its_noise_by_itself() -> None:
    clicks, _ = with_bait(0.3)
    channel, seen = told_of(clicks, label=None, logits=torch.zeros(len(clicks.item), ITEMS))
    assert channel(seen).tolist() == [1.0] * len(seen.item)
    assert float(channel.mixture.share) == 0.5


@pytest.mark.parametrize(
    "changes",
    [{"channel_asks_neighbors": False}, {"channel_learn": False}, {"channel_share": 0.0}],
)
def test_nobody_is_asked_where_that_is_not_wanted_or_the_share_is_given(
    changes: dict[str, Any],
) -> None:
    assert not build(**changes).reads_clicks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_share": 1.0}, r"channel_share=1.0 is out of range: it must be inside \[0, 1\)"),
        ({"channel_cap": -0.1}, "channel_cap=-0.1 is out of range"),
        ({"channel_warmup": 1.5}, "channel_warmup=1.5 is not a whole number"),
        ({"channel_learn": "often"}, "channel_learn=often is not True or False"),
        ({"channel_smoothing": float("inf")}, "channel_smoothing=inf is out of range"),
    ],
)
def test_wrong_settings_end_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**changes)
