"""The mixture of clean clicks and noise: its gradient, its test of independence, each head."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.likelihood import log_odds, negative_scores, target_scores
from recbole_atjt.weighting.met_clicks import Asked
from recbole_atjt.weighting.mixture import NoiseMixture
from recbole_atjt.weighting.tail import CLEAN_IN_TAIL

ITEMS = 12


def build(share: float = 0.3) -> NoiseMixture:
    built = NoiseMixture(torch.arange(ITEMS), share, True, 0.6, 0.1)
    built.start(0)
    return built


def test_weighted_losses_have_the_gradient_of_the_mixtures_likelihood() -> None:
    """The gradient of sum r l is that of -log((1-e) p + e q), in double precision."""
    mixture = build().double()
    item = torch.randint(1, ITEMS, (7,))

    def weighted(logits: Tensor) -> Tensor:
        loss = functional.cross_entropy(logits, item, reduction="none")
        return (mixture.clean_posterior(item, -loss.detach()) * loss).sum()

    def likelihood(logits: Tensor) -> Tensor:
        p = logits.softmax(1).gather(1, item.unsqueeze(1)).squeeze(1)
        return -torch.log(0.7 * p + 0.3 * mixture.noise[item]).sum()

    logits = torch.randn(7, ITEMS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(likelihood, (logits,))
    (ours,) = torch.autograd.grad(weighted(logits), logits)
    (theirs,) = torch.autograd.grad(likelihood(logits), logits)
    assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_targets_that_ignore_their_history_have_uniform_ranks() -> None:
    mixture, rows = build(), 3000
    logits = 3 * torch.randn(rows, ITEMS)
    item = torch.randint(1, ITEMS, (rows,))
    loss = functional.cross_entropy(logits, item, reduction="none")
    evidence = Evidence(loss, torch.arange(rows), item, logits=logits)
    rank = mixture._rank_of_logits(evidence, -loss)
    for level in (0.1, 0.3, 0.7):
        assert float((rank < level).float().mean()) == pytest.approx(level, abs=0.04)


def test_a_draw_takes_nothing_from_the_global_generators() -> None:
    mixture, state = build(), torch.get_rng_state()
    first = mixture.draw(mixture.unigram, 50)
    assert torch.equal(state, torch.get_rng_state())
    mixture.start(0)
    assert torch.equal(first, mixture.draw(mixture.unigram, 50))
    mixture.start(1)
    assert not torch.equal(first, mixture.draw(mixture.unigram, 50))
    assert not (first == 0).any()


def test_the_likelihood_of_a_softmax_is_its_loss() -> None:
    loss = torch.tensor([0.5, 2.0])
    item = torch.tensor([1, 2])
    evidence = Evidence(loss, torch.arange(2), item, logits=torch.zeros(2, ITEMS))
    assert target_scores(evidence) is None
    assert torch.equal(build().log_likelihood(evidence), -loss)


def test_the_scores_of_labelled_rows_by_hand() -> None:
    logit, label = torch.tensor([1.0, 0.0, math.log(3.0)]), torch.tensor([1.0, 0.0, 0.0])
    loss = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    negative = torch.tensor([4, 5])
    evidence = Evidence(loss, torch.tensor([7]), torch.tensor([3]), label=label, negative=negative)
    score, found = target_scores(evidence), negative_scores(evidence)
    assert score is not None
    assert found is not None
    assert score.tolist() == pytest.approx([1.0], rel=1e-4)
    assert torch.equal(found[0], negative)
    assert found[1].tolist() == pytest.approx([0.0, math.log(3.0)], rel=1e-4, abs=1e-6)


def test_pairs_show_their_scores_or_the_odds_of_their_loss() -> None:
    positive, negative = torch.tensor([1.0, 2.0]), torch.tensor([0.0, math.log(3.0)])
    loss = -functional.logsigmoid(positive - negative)
    items = torch.tensor([3, 4])
    pair = Evidence(loss, items, items, pair=(positive, negative), negative=items)
    score, found = target_scores(pair), negative_scores(pair)
    assert score is not None
    assert found is not None
    assert torch.equal(score, positive)
    assert torch.equal(found[1], negative)
    assert log_odds(loss).tolist() == pytest.approx((positive - negative).tolist(), rel=1e-4)
    alone = Evidence(loss, items, items, negative=items)
    assert target_scores(alone) is None
    assert negative_scores(alone) is None
    odds = (positive - negative - math.log(11)).tolist()
    assert build().log_likelihood(alone).tolist() == pytest.approx(odds, rel=1e-4)


def test_the_likelihood_of_single_scores_by_hand() -> None:
    """p = f_c(y) exp(score) / E exp(score): mean 1 and variance 4 under random histories."""
    mixture = build()
    mixture.histories.level[3] = 1000.0 * torch.tensor([1.0, 3.0])
    mixture.histories.gap[3] = 1000.0 * torch.tensor([1.0, 2.0, 4.0])
    f, q, item = float(mixture.unigram[3]), float(mixture.noise[3]), torch.tensor([3])
    expected = math.log((f - 0.3 * q) / 0.7) + 2.5 - (1.0 + 4.0 / 2)
    found = mixture.log_likelihood_of(item, torch.tensor([2.5]))
    assert found.item() == pytest.approx(expected, rel=1e-4)
    # An item that noise takes whole keeps a fiftieth of its clicks.
    mixture.noise[3] = 1.0
    expected += math.log(0.02 * f / 0.7) - math.log((f - 0.3 * q) / 0.7)
    assert mixture.log_likelihood_of(item, torch.tensor([2.5])).item() == pytest.approx(
        expected, rel=1e-4
    )


def gathered(noise: Tensor, posterior: Tensor, clicks: int = 400) -> NoiseMixture:
    """Return a mixture over 40 items that has seen clicks with these shares of noise."""
    mixture = NoiseMixture(torch.full((len(noise),), clicks), 0.3, True, 0.6, 0.0)
    counts = torch.full((len(noise),), float(clicks), dtype=torch.float64)
    counts[0] = 0.0
    mixture.clicks.copy_(counts)
    mixture.mass.copy_(posterior * counts)
    tail = 0.1 * (noise + (1 - noise) * CLEAN_IN_TAIL) * counts
    mixture.histories.tail.copy_(torch.stack((tail, counts), dim=1))
    return mixture


def test_the_test_says_which_items_hold_noise_whatever_the_posteriors_say() -> None:
    noise, posterior = torch.zeros(41).double(), torch.linspace(0.5, 0.1, 41).double()
    noise[5:9] = 1.0
    mixture = gathered(noise, posterior)
    mixture.update()
    assert float(mixture.share) == pytest.approx(0.1, abs=1e-3)
    assert mixture.noise[5:9].tolist() == pytest.approx([0.25] * 4, abs=2e-3)
    assert float(mixture.noise.sum()) == pytest.approx(1.0, abs=1e-6)


def test_without_noise_the_share_is_0_and_the_distribution_stays() -> None:
    mixture = gathered(torch.zeros(41).double(), torch.full((41,), 0.2).double())
    mixture.histories.tail[:, 0] *= 0.9
    before = mixture.noise.clone()
    mixture.update()
    assert float(mixture.share) == 0.0
    assert torch.equal(mixture.noise, before)
    # Once there, posteriors find none again; the test alone may.
    for from_posteriors, expected in ((True, 0.0), (False, 0.3)):
        again = gathered(torch.full((41,), 0.3).double(), torch.zeros(41).double())
        again.share.zero_()
        again.update(from_posteriors)
        assert float(again.share) == pytest.approx(expected, abs=1e-4)


def test_without_a_test_the_posteriors_say_how_much() -> None:
    posterior = torch.linspace(0.0, 0.5, 41).double()
    mixture = gathered(torch.zeros(41).double(), posterior)
    mixture.histories.tail.zero_()
    mixture.update()
    assert float(mixture.share) == pytest.approx(float(posterior[1:].mean()), abs=1e-6)
    expected = (posterior / posterior.sum()).tolist()
    assert mixture.noise.tolist() == pytest.approx(expected, abs=1e-6)


def test_where_nothing_has_settled_weights_are_exactly_1() -> None:
    mixture, ratio, item = build(0.3), torch.tensor([-80.0, 0.0, 80.0]), torch.tensor([1, 2, 3])
    expected = [0.7 * math.exp(c) / (0.7 * math.exp(c) + 0.3) for c in ratio.tolist()]
    assert mixture.weight(item, ratio).tolist() == pytest.approx(expected, rel=1e-5)
    mixture.settled.give(0.0)
    assert mixture.weight(item, ratio).tolist() == [1.0, 1.0, 1.0]
    assert mixture.posterior(ratio).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_model_that_begins_again_is_weighed_by_items_while_it_warms_up() -> None:
    """Of items with frequencies f, those whose clicks are e q / f noise weigh the rest of 1."""
    mixture = build(0.3)
    mixture.noise.copy_(torch.tensor([0.0, *[0.01] * 5, *[0.15] * 5, 0.2]))
    mixture.settled.begun.fill_(1)
    item, ratio = torch.tensor([1, 5, 8]), torch.tensor([80.0, -80.0, 0.0])
    clean = 1 - 0.3 * mixture.noise[item] / mixture.unigram[item]
    known = mixture.posterior(ratio).tolist()
    for warm_up, expected in ((0, known), (1, clean.tolist()), (2, clean.tolist())):
        mixture.start(0, warm_up)
        assert mixture.weight(item, ratio).tolist() == pytest.approx(expected, rel=1e-5)
    mixture.settled.end_epoch()
    for warm_up, expected in ((1, known), (2, clean.tolist())):
        mixture.start(1, warm_up)
        assert mixture.weight(item, ratio).tolist() == pytest.approx(expected, rel=1e-5)


def test_before_it_begins_again_nothing_is_weighed_by_items() -> None:
    mixture = build(0.3)
    mixture.settled.end_epoch()
    mixture.start(1, 5)
    assert not mixture.by_items


def test_an_epochs_estimate_is_learned_from_until_training_has_begun_again() -> None:
    """The share of independent clicks goes .5, .45 (no more change), .55, .4 of 400 each."""
    mixture, shares, again = build(), [], []
    for share in (0.5, 0.45, 0.55, 0.4):
        seen = gathered(torch.full((41,), share).double(), torch.zeros(41).double(), 400)
        mixture.histories.tail.zero_()
        mixture.histories.tail[1] = seen.histories.tail.sum(0)
        mixture.clicks[1], mixture.mass[1] = 1.0, 0.5
        mixture.update()
        shares.append(tuple(mixture.shares().values()))
        again.append(mixture.settled.begins_again)
    assert again == [False, True, False, False]
    expected = [(0.5, 0.0), (0.45, 0.45), (0.45, 0.45), (0.4, 0.4)]
    assert torch.allclose(torch.tensor(shares), torch.tensor(expected), atol=1e-6)


def test_the_noise_that_a_softmax_has_learned_is_taken_off() -> None:
    """A model that gives every item (1-e) p + e q, trained on all of it, says p all the same."""
    mixture = build(0.3)
    p = torch.rand(ITEMS).softmax(0)
    item = torch.arange(1, ITEMS)
    learned = (0.7 * p + 0.3 * mixture.noise)[item].log()
    evidence = Evidence(-learned, torch.arange(ITEMS - 1), item, logits=torch.zeros(11, ITEMS))
    mixture.watch(evidence)
    clicks = torch.ones(11, dtype=torch.bool)
    mixture.note(torch.full((11,), 0.7), torch.ones(11), clicks)
    mixture._keep()
    assert float(mixture.kept) == pytest.approx(0.3)
    expected = p[item].log() - mixture.noise[item].log()
    assert torch.allclose(mixture.log_lift(item, learned), expected, atol=1e-5)


def test_what_was_weighed_down_was_not_learned() -> None:
    """Noise with weight .1, the rest with 1: .1 / (.7 + .03) of it, relative to all, was kept."""
    mixture = build(0.3)
    noisy = torch.cat((torch.ones(3), torch.zeros(7)))
    mixture.note(1 - noisy, 1 - 0.9 * noisy, torch.ones(10, dtype=torch.bool))
    mixture._keep()
    assert float(mixture.kept) == pytest.approx(0.3 * 0.1 / 0.73)


def test_a_target_that_the_model_rules_out_has_a_finite_ratio() -> None:
    mixture = build(0.3)
    mixture.watch(
        Evidence(torch.ones(2), torch.arange(2), torch.tensor([1, 2]), logits=torch.ones(2, 12))
    )
    assert torch.isfinite(mixture.log_lift(torch.tensor([1, 2]), torch.tensor([-500.0, 0.0]))).all()


def asked(mixture: NoiseMixture, told: Tensor | None, **changes: Any) -> list[Asked]:
    """Watch a first batch of single scores where shares are told; return what was asked for."""
    questions: list[Asked] = []
    mixture.elsewhere = lambda each: questions.append(each) or told
    item = torch.tensor([1, 2])
    mixture.watch(Evidence(torch.ones(2), torch.arange(2), item, label=torch.ones(2), **changes))
    return questions


@pytest.mark.parametrize(("told", "used"), [(0.3, 0.3), (0.9, 0.6), (0.02, 0.0)])
def test_a_model_without_a_softmax_begins_with_the_noise_that_is_told(
    told: float, used: float
) -> None:
    mixture = build(0.0)
    mixture.start(0, warm_up=1)
    shares = torch.zeros(ITEMS)
    shares[3] = told / float(mixture.unigram[3])
    assert asked(mixture, shares) == [Asked.OF_ITEMS]
    assert mixture.by_items == bool(used)
    assert float(mixture.settled.value) == pytest.approx(used)
    if used:
        assert float(mixture.share) == pytest.approx(used)
        assert float(mixture.noise[3]) > 0.9
        mixture.settled.end_epoch()
        mixture.start(1, warm_up=1)
        assert mixture.weighs
        assert not mixture.by_items
    assert not mixture.settled.begins_again


def test_told_that_there_is_no_noise_it_looks_no_further() -> None:
    mixture = build(0.5)
    mixture.start(0)
    asked(mixture, torch.zeros(ITEMS))
    assert mixture.shares() == {"noise_share": 0.0, "weighted_share": 0.0}
    assert not mixture.weighs
    mixture.clicks[1] = 100.0
    mixture.histories.tail[1] = torch.tensor([50.0, 100.0])  # as noise has it
    mixture.update()
    mixture.start(1)
    assert mixture.shares() == {"noise_share": 0.0, "weighted_share": 0.0}
    assert mixture.looking.looks, "for the report"
    mixture.looking.batch = 1
    assert not mixture.looking.looks


def test_where_nothing_can_be_told_the_model_is_asked() -> None:
    mixture, alone = build(0.5), build(0.5)
    for each in (mixture, alone):
        each.start(0)
    assert asked(mixture, None) == [Asked.OF_ITEMS]
    assert mixture.shares() == alone.shares()
    assert mixture.looking.looks
    assert not bool(mixture.pairs.released)


@pytest.mark.parametrize("told", [0.0, 0.3])
def test_what_is_told_lets_all_pairs_be_trained_on_at_once(told: float) -> None:
    mixture = NoiseMixture(torch.arange(ITEMS), 0.5, True, 0.6, 0.1, held_out=0.5)
    mixture.start(0)
    user, item = torch.arange(64), torch.arange(64) % (ITEMS - 1) + 1
    loss = torch.ones(64)
    seen = Evidence(
        loss,
        user,
        item,
        label=loss,
        knows_users=True,
        under=lambda rows, targets: torch.zeros(len(rows)),
    )
    mixture.elsewhere = lambda *_: torch.full((ITEMS,), told)
    mixture.watch(seen)
    assert mixture.pairs.active
    assert torch.equal(mixture.pairs.leave_out(torch.ones(64), seen), torch.ones(64))


def test_what_is_told_stays() -> None:
    mixture = build(0.0)
    mixture.start(0)
    asked(mixture, torch.full((ITEMS,), 0.3))
    noise = mixture.noise.clone()
    mixture.clicks[1] = mixture.mass[1] = 100.0
    mixture.histories.tail[1] = torch.tensor([50.0, 100.0])  # as noise has it
    mixture.update()
    assert mixture.shares() == pytest.approx({"noise_share": 0.3, "weighted_share": 0.3})
    assert torch.equal(mixture.noise, noise)
    assert not mixture.settled.begins_again


@pytest.mark.parametrize("told", [None, 0.3])
def test_a_softmax_is_told_of_noise_that_is_spread_and_of_no_other(told: float | None) -> None:
    mixture = build(0.5)
    mixture.start(0, warm_up=1)
    shares = None if told is None else torch.full((ITEMS,), told)
    assert asked(mixture, shares, logits=torch.zeros(2, ITEMS)) == [Asked.SPREAD]
    assert bool(mixture.pairs.released) == bool(told)
    assert mixture.by_items == bool(told)
    assert mixture.looking.looks


def test_what_a_softmax_was_trained_on_is_known_where_noise_was_told() -> None:
    """So that the noise that it keeps is taken out of its likelihoods."""
    mixture = build(0.0)
    mixture.start(0, warm_up=1)
    asked(mixture, torch.full((ITEMS,), 0.3), logits=torch.zeros(2, ITEMS))
    noisy = torch.cat((torch.ones(3), torch.zeros(7)))
    mixture.clicks[1] = 10.0
    mixture.note(1 - noisy, 1 - 0.9 * noisy, torch.ones(10, dtype=torch.bool))
    mixture.update()
    assert float(mixture.kept) == pytest.approx(0.3 * 0.1 / 0.73)
    assert float(mixture.share) == pytest.approx(0.3)


@pytest.mark.parametrize("case", ["later epoch", "later batch", "no graph"])
def test_nobody_is_asked_but_at_the_very_beginning(case: str) -> None:
    mixture = build()
    mixture.looking.batch = 1 if case == "later batch" else 0
    with torch.set_grad_enabled(case != "no graph"):
        found = asked(mixture, torch.full((ITEMS,), 0.3), epoch=int(case == "later epoch"))
    assert found == []
    assert float(mixture.settled.value) == float(build().settled.value)
