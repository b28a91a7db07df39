"""ATJT that reads the likelihood: the floor of its odds, its recognisers, what each head gives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.joint import LikelihoodJointTraining
from recbole_atjt.weighting.likelihood_recognizer import weighted_recognition_loss
from recbole_atjt.weighting.met_clicks import Asked
from recbole_atjt.weighting.recognition import AuxiliaryTaskJointTraining
from recbole_atjt.weighting.table import build_weighting
from tests.random_users import BAIT, clicks_of, struck, with_bait
from tests.random_users import ITEMS as USERS_ITEMS

ITEMS = 30


def build(**changes: Any) -> LikelihoodJointTraining:
    keys = {"weighting": "atjt", "atjt_warmup": 0, **changes}
    built = build_weighting(keys, torch.arange(1, ITEMS + 1))
    assert isinstance(built, LikelihoodJointTraining)
    built.start_epoch(0)
    return built


def softmax_evidence(rows: int = 64, group: int = 0, **changes: Any) -> Evidence:
    logits = torch.randn(rows, ITEMS)
    logits[:, 0] = -torch.inf
    item = torch.randint(1, ITEMS, (rows,))
    loss = functional.cross_entropy(logits, item, reduction="none").requires_grad_()
    history = torch.randint(1, ITEMS, (rows, 4))
    own: dict[str, Any] = {"logits": logits, "history": history, "group": group, **changes}
    return Evidence(loss, torch.arange(rows), item, **own)


def pair_evidence(rows: int = 64) -> Evidence:
    positive, negative = torch.randn(rows), torch.randn(rows)
    loss = -functional.logsigmoid(positive - negative)
    ids = torch.randint(1, ITEMS, (2, rows))
    return Evidence(loss, torch.arange(rows), ids[0], pair=(positive, negative), negative=ids[1])


def labelled_evidence(rows: int = 64, negatives: int = 2) -> Evidence:
    logit = torch.randn(rows * (1 + negatives))
    label = torch.zeros(len(logit))
    label[:rows] = 1
    loss = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    item = torch.randint(1, ITEMS, (rows,))
    negative = torch.randint(1, ITEMS, (rows * negatives,))
    return Evidence(loss, torch.arange(rows), item, label=label, negative=negative)


def test_at_its_start_it_weighs_as_the_channel_does() -> None:
    seen = softmax_evidence()
    channel = build_weighting(
        {"weighting": "channel", "channel_warmup": 0}, torch.arange(1, ITEMS + 1)
    )
    assert channel is not None
    channel.start_epoch(0)
    assert torch.allclose(build()(seen), channel(seen), atol=1e-6)


def in_a_row(seen: Evidence, users: int = 8) -> tuple[Evidence, Clicks]:
    """Return evidence whose sequences are clicks of a few users, and these clicks."""
    user = torch.arange(len(seen.item)) * users // len(seen.item)
    return replace(seen, user=user), Clicks(user, seen.item)


def test_neighbours_are_read_beside_the_likelihood() -> None:
    seen, clicks = in_a_row(softmax_evidence())
    alone, met = build(atjt_noise_rate=0.25), build(atjt_noise_rate=0.25)
    met.meet(lambda: clicks)
    first, found = alone(seen), met(seen)
    assert not torch.equal(found, first)
    log_p = alone.mixture.log_likelihood(seen)
    near = met.met.log_ratio(seen.user, seen.item, far=False)
    assert near is not None
    ratio = alone._own(alone._ratios(seen, seen.item, log_p), 0)
    expected = alone.mixture.posterior(alone.mixture.pooled(seen.item, ratio, near))
    assert torch.allclose(found, expected)
    assert torch.allclose(met.clean_probability(seen, found), expected)


def test_of_clicks_that_it_has_not_met_the_likelihood_speaks() -> None:
    seen, clicks = in_a_row(softmax_evidence())
    alone, met = build(atjt_noise_rate=0.25), build(atjt_noise_rate=0.25)
    met.meet(lambda: Clicks(clicks.user + 100, clicks.item))
    assert torch.equal(met(seen), alone(seen))
    met.meet(lambda: clicks, others=True)
    assert not torch.equal(met(seen), alone(seen))


def known_users(share: float, **changes: Any) -> tuple[LikelihoodJointTraining, Evidence]:
    """Return a strategy that has met users of whom a share is unrelated, and a batch of clicks."""
    clicks = clicks_of(share)
    keys = {"weighting": "atjt", **changes}
    built = build_weighting(keys, torch.bincount(clicks.item, minlength=USERS_ITEMS))
    assert isinstance(built, LikelihoodJointTraining)
    if built.reads_clicks:
        built.meet(lambda: clicks)
    built.start_epoch(0)
    row = torch.arange(0, len(clicks.item), 20)  # one click of each user
    logits = torch.randn(len(row), USERS_ITEMS)
    loss = functional.cross_entropy(logits, clicks.item[row], reduction="none")
    return built, Evidence(loss, clicks.user[row], clicks.item[row], logits=logits)


def test_unrelated_users_weigh_next_to_nothing_from_the_first_batch_on() -> None:
    strategy, seen = known_users(0.3)
    assert not strategy.passes
    weights = strategy(seen)
    assert float(weights[:150].mean()) < 0.10
    assert float(weights[150:].mean()) > 0.98
    with torch.no_grad():
        clean = strategy.clean_probability(replace(seen, epoch=1), weights)
    assert float(clean[:150].mean()) < 0.10 < float(clean[150:].mean())
    assert strategy.judge(seen).weight.tolist() == pytest.approx(weights.tolist())


def test_unrelated_users_say_nothing_of_the_noise_in_others() -> None:
    strategy, seen = known_users(0.3)
    weights = strategy(seen)
    assert float(strategy.mixture.clicks.sum()) == int((weights >= 0.5).sum()) < 400
    strategy.end_epoch(0)
    mixture, known = strategy.mixture.shares(), strategy._known()
    assert known is not None
    expected = [1 - (1 - share) * (1 - known.share) for share in mixture.values()]
    said = strategy.describe()
    assert [said[key] for key in mixture] == pytest.approx(expected)
    assert said["unrelated_users"] == pytest.approx(known.share) == pytest.approx(0.3, abs=0.03)
    assert "unrelated_repeats" not in said
    assert strategy.suspects(3) == []


@pytest.mark.parametrize(
    ("share", "changes"),
    [(0.0, {}), (0.3, {"atjt_recognizer_reads": "likelihood"}), (0.3, {"atjt_noise_rate": 0.0})],
)
def test_without_unrelated_users_or_where_none_are_asked_for_all_weigh_1(
    share: float, changes: dict[str, Any]
) -> None:
    strategy, seen = known_users(share, **changes)
    assert strategy(seen).tolist() == [1.0] * 500


def test_users_that_are_judged_are_known_beside_those_of_the_training() -> None:
    strategy, seen = known_users(0.3)
    before = strategy(seen)
    others = clicks_of(0.5, seed=2, users=60, first=9001)
    strategy.meet(lambda: others, others=True)
    assert torch.equal(strategy(seen), before)
    row = torch.arange(0, len(others.item), 20)
    theirs = strategy.judge(replace(seen, user=others.user[row], item=others.item[row]))
    assert float(theirs.weight[:30].mean()) < 0.10 < 0.9 < float(theirs.weight[30:].mean())


def test_clicks_that_are_repeated_without_interest_weigh_next_to_nothing() -> None:
    clicks, noisy = struck(0.3)
    strategy = build_weighting(
        {"weighting": "atjt"}, torch.bincount(clicks.item, minlength=USERS_ITEMS)
    )
    assert isinstance(strategy, LikelihoodJointTraining)
    strategy.meet(lambda: clicks)
    strategy.start_epoch(0)
    logits = torch.randn(len(clicks.item), USERS_ITEMS)
    loss = functional.cross_entropy(logits, clicks.item, reduction="none")
    seen = Evidence(loss, clicks.user, clicks.item, logits=logits)
    assert not strategy.passes
    weights = strategy(seen)
    assert float(weights[noisy].mean()) < 0.15 < 0.97 < float(weights[~noisy].mean())
    assert float(strategy.mixture.clicks.sum()) == int((weights >= 0.5).sum())
    assert strategy.describe()["unrelated_repeats"] == pytest.approx(0.3, abs=0.02)
    assert strategy.judge(seen).weight.tolist() == pytest.approx(weights.tolist())


def told(strategy: LikelihoodJointTraining, clicks: Clicks, asked: Asked) -> torch.Tensor | None:
    """Return the shares of noise in the clicks on items that are told of clicks, if any are."""
    strategy.meet(lambda: clicks)
    assert strategy.mixture.elsewhere is not None
    return strategy.mixture.elsewhere(asked)


def test_the_noise_that_neighbours_show_is_without_unrelated_users() -> None:
    strategy, _ = known_users(0.3)
    clicks = clicks_of(0.3)
    shares = told(strategy, clicks, Asked.ANY)
    assert shares is not None
    assert not bool(shares.any())
    assert told(strategy, clicks, Asked.SPREAD) is None, "there may be other noise"
    drawn = torch.Generator().manual_seed(1)
    noisy = torch.rand(len(clicks.item), generator=drawn) < 0.35
    other = clicks.item[torch.randperm(len(clicks.item), generator=drawn)]
    clicks = Clicks(clicks.user, torch.where(noisy, other, clicks.item))
    assert told(strategy, clicks, Asked.OF_ITEMS) is None, "there is some, and not on items"
    for asked in (Asked.ANY, Asked.SPREAD):
        shares = told(strategy, clicks, asked)
        assert shares is not None
        assert shares.tolist() == pytest.approx([0.35 * 0.9] * USERS_ITEMS, abs=0.1)


def test_items_that_noise_fell_on_are_told_of_rather_than_a_share_of_all() -> None:
    strategy, _ = known_users(0.0)
    clicks, _ = with_bait(0.3)
    shares = told(strategy, clicks, Asked.ANY)
    assert shares is not None
    assert float(shares[1 : 1 + BAIT].min()) > 0.8
    assert float(shares[1 + BAIT :].mean()) < 0.02
    assert told(strategy, clicks, Asked.SPREAD) is None


@pytest.mark.parametrize("warm_up", [0, 1])
def test_what_neighbours_tell_weighs_from_the_first_batch_of_labelled_rows_on(
    warm_up: int,
) -> None:
    clicks, _ = with_bait(0.3)
    keys = {"weighting": "atjt", "atjt_warmup": warm_up}
    strategy = build_weighting(keys, torch.bincount(clicks.item, minlength=USERS_ITEMS))
    assert isinstance(strategy, LikelihoodJointTraining)
    strategy.meet(lambda: clicks)
    strategy.start_epoch(0)
    row = torch.arange(0, len(clicks.item), 20)
    logit = torch.randn(len(row), requires_grad=True)
    loss = functional.binary_cross_entropy_with_logits(
        logit, torch.ones_like(logit), reduction="none"
    )
    seen = Evidence(loss, clicks.user[row], clicks.item[row], label=torch.ones(len(row)))
    assert not strategy.passes
    weights = strategy(seen)
    assert not strategy.passes
    bait = clicks.item[row] <= BAIT
    assert float(weights[bait].mean()) < 0.25
    assert float(weights[~bait].mean()) > 0.9
    assert strategy.describe()["weighted_share"] == pytest.approx(0.3, abs=0.04)


def test_it_reads_no_clicks_where_it_reads_the_likelihood_alone() -> None:
    assert build().reads_clicks
    assert build(atjt_recognizer_reads="all").reads_clicks
    assert not build(atjt_recognizer_reads="likelihood").reads_clicks


def test_the_odds_of_an_original_by_hand() -> None:
    strategy = build(atjt_noise_rate=0.25)
    ratio = torch.tensor([math.log(2.0), -50.0])
    found = strategy._logit(ratio, torch.tensor([1, 2]))
    # 3/4 * 2 + 1/4 = 7/4; where clicks are noise alone, their share 1/4 is left.
    assert found.tolist() == pytest.approx([math.log(7 / 4), math.log(1 / 4)], abs=1e-5)


def test_replacements_from_elsewhere_are_reckoned_in() -> None:
    strategy = build(atjt_noise_rate=0.25, atjt_replace_from="uniform")
    found = strategy._logit(torch.tensor([math.log(2.0)]), torch.tensor([29]))
    q, r = float(strategy.mixture.noise[29]), 1 / (ITEMS - 1)
    assert found.item() == pytest.approx(math.log(q / r * 7 / 4), rel=1e-5)


def test_only_the_recognisers_of_other_groups_learn() -> None:
    strategy = build(atjt_groups=3)
    strategy(softmax_evidence(group=1))
    loss = strategy.evidence_loss()
    assert loss is not None
    loss.backward()
    gradients = [float(part.scale.grad) for part in strategy._parts()]  # type: ignore[arg-type]
    assert [gradient != 0 for gradient in gradients] == [True, False, True]
    assert gradients[0] == pytest.approx(gradients[2]), "they start alike and see the same"
    assert strategy.evidence_loss() is None


def apart(strategy: LikelihoodJointTraining) -> LikelihoodJointTraining:
    """Let each recogniser say something else."""
    with torch.no_grad():
        for number, part in enumerate(strategy._parts()):
            part.scale.fill_(1.0 - 0.3 * number)
            part.offset.fill_(0.2 * number)
    return strategy


HEADS = [softmax_evidence, pair_evidence, labelled_evidence]


@pytest.mark.parametrize("make", HEADS)
def test_each_user_is_weighed_by_the_recogniser_of_his_group(make: Any) -> None:
    torch.manual_seed(1)
    seen, strategy = make(), apart(build(atjt_groups=3))
    group = torch.arange(64) % 3
    with torch.no_grad():
        found = strategy(replace(seen, group=group))
        alone = torch.stack([strategy(replace(seen, group=each)) for each in range(3)])
    assert len({tuple(each.tolist()) for each in alone}) == 3
    for row in range(64):
        assert found[row].item() == pytest.approx(alone[row % 3, row].item(), rel=1e-6)


@pytest.mark.parametrize("make", HEADS)
def test_no_recogniser_learns_from_users_that_it_weighs(make: Any) -> None:
    """Gradients by a naive loop: each recogniser's loss on all rows that are not its own."""
    torch.manual_seed(1)
    seen, group = make(), torch.arange(64) % 3
    strategy = apart(build(atjt_groups=3, atjt_noise_rate=0.25))
    strategy(replace(seen, group=group))
    loss = strategy.evidence_loss()
    assert loss is not None
    loss.backward()
    other = apart(build(atjt_groups=3, atjt_noise_rate=0.25))
    other.mixture.watch(seen)  # draws what the other has drawn
    log_p = other.mixture.log_likelihood(seen)
    if seen.logits is not None:
        other.mixture._rank_of_logits(seen, log_p)
    drawn = other._drawn(seen, log_p)
    assert drawn is not None
    item, drawn_log_p, importance, rows = drawn
    expected = torch.zeros(())
    for number, part in enumerate(other._parts()):
        sums = [[torch.zeros(()), 0.0], [torch.zeros(()), 0.0]]
        originals = [(1.0, seen.item[row], log_p[row], 1.0, row) for row in range(64)]
        copies = zip([0.0] * len(item), item, drawn_log_p, importance.tolist(), rows.tolist())
        for label, target, likelihood, weight, row in [*originals, *copies]:
            if group[row] == number:
                continue
            ratio = part(other.mixture.log_lift(target, likelihood), None, target)
            logit = other._logit(ratio, target)
            found = sums[int(label)]
            found[0] = found[0] + weight * functional.binary_cross_entropy_with_logits(
                logit, torch.tensor(label)
            )
            found[1] += weight
        expected = expected + sum(0.5 * total / size for total, size in sums) / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    expected.backward()
    for ours, theirs in zip(strategy._parts(), other._parts()):
        assert ours.scale.grad is not None
        assert theirs.scale.grad is not None
        assert ours.scale.grad.item() == pytest.approx(theirs.scale.grad.item(), rel=1e-3)


def test_weights_use_the_settled_share_and_a_known_one_from_the_start() -> None:
    seen = softmax_evidence()
    for rate, expected in ((0, 0.0), (0.2, 0.2), ("auto", 0.5)):
        strategy = build(atjt_noise_rate=rate)
        assert strategy.mixture.shares()["weighted_share"] == expected
        plain = strategy(seen).tolist() == [1.0] * 64
        assert plain == (rate == 0)
        strategy.end_epoch(0)
        if rate != "auto":
            shares = {"noise_share": rate, "weighted_share": rate}
            assert strategy.describe().items() >= shares.items()


@pytest.mark.parametrize("make", HEADS)
def test_every_head_has_drawn_targets(make: Any) -> None:
    strategy, seen = build(), make()
    weights = strategy(seen)
    assert weights.shape == (64,)
    assert 0 <= float(weights.min()) <= float(weights.max()) <= 1
    loss = strategy.evidence_loss()
    assert loss is not None
    assert math.isfinite(loss.item())
    assert strategy.report.replaced.count > 0


def test_a_head_that_shows_no_scores_is_weighed_all_the_same() -> None:
    strategy = build()
    seen = Evidence(torch.rand(8) * 3, torch.arange(8), torch.randint(1, ITEMS, (8,)))
    assert strategy(seen).shape == (8,)
    assert strategy.evidence_loss() is None
    assert strategy.recognition() == {}
    assert "shows no scores" in str(strategy.complaint())


def test_a_known_rate_stays_and_an_unknown_one_is_learned() -> None:
    known, learned = build(atjt_noise_rate=0.1), build()
    for strategy in (known, learned):
        strategy(softmax_evidence())
        strategy.end_epoch(0)
    assert float(known.mixture.share) == pytest.approx(0.1)
    assert float(learned.mixture.share) != 0.5


def test_the_warmup_is_plain() -> None:
    assert build(atjt_warmup=1)(softmax_evidence()).tolist() == [1.0] * 64


def mixed(rows: int, share: float, epoch: int) -> Evidence:
    """Clicks of a known model, a share of them noise on three items."""
    taste = torch.randint(1, ITEMS, (rows,))
    logits = torch.zeros(rows, ITEMS)
    logits[:, 0] = -torch.inf
    logits[torch.arange(rows), taste] = 6.0
    item = torch.multinomial(logits.softmax(1), 1).squeeze(1)
    noise = torch.rand(rows) < share
    item = torch.where(noise, torch.randint(1, 4, (rows,)), item)
    loss = functional.cross_entropy(logits, item, reduction="none")
    ids = torch.arange(rows)
    return Evidence(loss, ids, item, logits=logits, true=~noise, epoch=epoch)


@pytest.mark.parametrize(("share", "low", "high"), [(0.3, 0.2, 0.4), (0.0, 0.0, 0.05)])
@pytest.mark.parametrize("name", ["channel", "atjt"])
def test_share_and_distribution_of_the_noise_are_found(
    name: str, share: float, low: float, high: float
) -> None:
    strategy = build_weighting({"weighting": name}, torch.ones(ITEMS))
    assert strategy is not None
    for epoch in range(8):
        strategy.start_epoch(epoch)
        for _ in range(10):
            strategy(mixed(200, share, epoch))
        strategy.end_epoch(epoch)
    assert low <= strategy.describe()["noise_share"] <= high
    if share:
        assert {item for item, _ in strategy.suspects(3)} == {1, 2, 3}
        assert strategy.report.truth.auroc() > 0.9
    recognition = strategy.recognition()
    assert recognition is None or recognition["auroc"] > 0.7


def test_the_loss_weighs_both_classes_alike() -> None:
    logit, label = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 0.0, 0.0])
    losses = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    found = weighted_recognition_loss(logit, label, torch.tensor([3.0, 1.0, 3.0]))
    expected = 0.5 * losses[0] + 0.5 * (losses[1] + 3 * losses[2]) / 4
    assert found.item() == pytest.approx(expected.item())


def test_own_evidence_is_the_papers_form() -> None:
    keys = {"weighting": "atjt", "atjt_evidence": "own"}
    assert type(build_weighting(keys, torch.ones(9))) is AuxiliaryTaskJointTraining


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"atjt_schedule": "paper"}, "atjt_schedule=paper goes with atjt_evidence=own"),
        ({"atjt_joint_gradient": True}, "atjt_joint_gradient=True goes with atjt_evidence=own"),
        ({"atjt_noise_rate": 1.0}, "atjt_noise_rate=1.0 is out of range"),
        ({"atjt_noise_rate": "most"}, "atjt_noise_rate=most is unknown"),
        ({"atjt_evidence": "likelyhood"}, "did you mean 'likelihood'"),
        ({"atjt_warmup": -1}, "atjt_warmup=-1 is out of range"),
    ],
)
def test_wrong_values_end_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**given)
