"""AutoDenoise: the controller's actions, its gradient, and that it finds a known best policy."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt import DenoisingConfig, DenoisingTrainer, UsageError
from recbole_atjt.weighting.autodenoise import AutoDenoise, observe
from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.table import build_weighting
from tests.runs import LEAVE_ONE_OUT, assemble, settings, train
from tests.tiers import fast

BOTH = ("autodenoise_h", "autodenoise_s")
SIZES = {"autodenoise_hidden_sizes": [6, 5]}


def build(name: str, **changes: Any) -> AutoDenoise:
    torch.manual_seed(changes.pop("seed", 3))
    built = build_weighting({**SIZES, "weighting": name, **changes}, torch.ones(9))
    assert isinstance(built, AutoDenoise)
    return built


def evidence(rows: int = 8, epoch: int = 0, negatives: int = 0) -> Evidence:
    loss = torch.rand(rows * (1 + negatives)) * 5
    ids = torch.arange(rows)
    return Evidence(
        loss.requires_grad_(),
        ids,
        ids,
        epoch=epoch,
        representation=torch.randn(rows, 4),
        item_embedding=torch.randn(rows, 3),
    )


def controller(strategy: AutoDenoise) -> nn.Sequential:
    assert strategy.controller is not None
    return strategy.controller


def actions(name: str, weights: Tensor) -> Tensor:
    """Return what was drawn for these weights: the weight itself, or its softplus undone."""
    return weights if name == "autodenoise_h" else weights + torch.log(-torch.expm1(-weights))


def test_the_state_is_representation_item_loss_and_epoch() -> None:
    seen = evidence(rows=2, epoch=9, negatives=2)
    state = observe(seen)
    assert state.shape == (2, 4 + 3 + 2)
    assert seen.representation is not None
    assert seen.item_embedding is not None
    assert torch.equal(state[:, :4], seen.representation)
    assert torch.equal(state[:, 4:7], seen.item_embedding)
    positive = [
        math.log(1 + float(value)) for value in seen.loss[:2].tolist()
    ]  # rows 2.. are negatives
    assert state[:, 7].tolist() == pytest.approx(positive)
    assert state[:, 8].tolist() == pytest.approx([math.log(10)] * 2)
    assert not state.requires_grad


def test_a_loss_that_is_not_finite_leaves_the_controller_whole() -> None:
    seen = evidence()
    with torch.no_grad():
        seen.loss[:2] = torch.tensor([math.nan, math.inf])
    for name in BOTH:
        strategy = build(name)
        assert torch.isfinite(strategy(seen)).all()
        assert torch.isfinite(strategy.score).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_hard_actions_are_all_numbers_below_their_count(count: int) -> None:
    strategy = build("autodenoise_h", autodenoise_actions=count)
    weights = strategy(evidence(4000))
    assert set(weights.tolist()) == ({1.0} if count == 1 else set(map(float, range(count))))
    expected = 1.0 if count == 1 else (count - 1) / 2
    deviation = math.sqrt((count**2 - 1) / 12 / 4000)
    assert float(weights.mean()) == pytest.approx(expected, abs=5 * deviation)


def test_soft_weights_start_around_one() -> None:
    weights = build("autodenoise_s")(evidence(20_000))
    drawn = actions("autodenoise_s", weights)
    assert float(weights.min()) > 0
    assert float(drawn.mean()) == pytest.approx(math.log(math.e - 1), abs=0.02)
    assert float(drawn.var()) == pytest.approx(0.25, rel=0.05)
    assert float(weights.mean()) == pytest.approx(1.03, abs=0.03)


def test_a_single_action_learns_nothing() -> None:
    strategy = build("autodenoise_h", autodenoise_actions=1, autodenoise_weight_decay=0.0)
    learn(strategy, [0.5, 0.9])
    before = copy.deepcopy(controller(strategy).state_dict())
    learn(strategy, [0.1])
    after = controller(strategy).state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def learn(strategy: AutoDenoise, rewards: list[float], batches: int = 2) -> None:
    for epoch, reward in enumerate(rewards):
        for _ in range(batches):
            strategy(evidence(epoch=epoch))
        strategy.receive_reward(reward)


def test_gradient_of_hard_actions_by_hand() -> None:
    strategy = build("autodenoise_h")
    weights = strategy(evidence(rows=9))
    counts = [int((weights == action).sum()) for action in range(3)]
    # With P = 1/3 each, d log P(a) / d logit_j = [a = j] - 1/3; the last entries are the biases'.
    expected = [count - 9 / 3 for count in counts]
    assert strategy.score[-3:].tolist() == pytest.approx(expected, abs=1e-5)


def test_gradient_of_soft_actions_by_hand() -> None:
    strategy = build("autodenoise_s")
    drawn = actions("autodenoise_s", strategy(evidence(rows=9))).double()
    apart, variance = drawn - math.log(math.e - 1), 0.25
    slope = 1 - math.exp(-variance)  # of softplus, where softplus is 0.25
    expected = [
        float((apart / variance).sum()),
        float(((apart**2 / variance - 1) / (2 * variance) * slope).sum()),
    ]
    assert strategy.score[-2:].tolist() == pytest.approx(expected, rel=1e-3)


def test_baseline_is_the_moving_average_of_rewards_before() -> None:
    strategy = build("autodenoise_h", autodenoise_baseline_decay=0.9)
    steps: list[float] = []
    strategy._step = steps.append  # type: ignore[method-assign]
    expected = [0.5, 0.51, 0.499]
    for reward, baseline in zip((0.5, 0.6, 0.4), expected):
        learn(strategy, [reward])
        assert float(strategy.baseline) == pytest.approx(baseline)
    # 2 batches of 8; the first reward is no step
    assert steps == pytest.approx([(0.6 - 0.5) / 16, (0.4 - 0.51) / 16])


def log_probability(name: str, output: Tensor, drawn: Tensor) -> Tensor:
    """Return the log-probability of actions, written with torch's distributions, ``[n]``."""
    if name == "autodenoise_h":
        found: Tensor = torch.distributions.Categorical(logits=output).log_prob(drawn)
        return found
    mean = output[:, 0] + math.log(math.e - 1)
    variance = functional.softplus(output[:, 1] + math.log(math.expm1(0.25)))
    density: Tensor = torch.distributions.Normal(mean, variance.sqrt()).log_prob(drawn)
    return density


@pytest.mark.parametrize("name", BOTH)
def test_gathered_gradients_are_those_of_a_stored_epoch(name: str) -> None:
    """Naive REINFORCE keeps all states and actions, and goes back through all at the end."""
    strategy = build(
        name,
        autodenoise_weight_decay=0.01,
        autodenoise_learning_rate=0.02,
        autodenoise_baseline_decay=0.9,
    )
    strategy(evidence())
    naive = copy.deepcopy(controller(strategy))
    adam = torch.optim.Adam(naive.parameters(), lr=0.02, weight_decay=0.01)
    strategy.receive_reward(0.5)
    baseline = 0.5
    for epoch, reward in enumerate((0.7, 0.4, 0.45, 0.8)):
        states, drawn = [], []
        for rows in (8, 8, 3):
            seen = evidence(rows, epoch)
            states.append(observe(seen))
            drawn.append(actions(name, strategy(seen)))
        strategy.receive_reward(reward)
        logs = log_probability(name, naive(torch.cat(states)), torch.cat(drawn))
        adam.zero_grad()
        (-(reward - baseline) * logs.mean()).backward()
        adam.step()
        baseline = 0.9 * baseline + 0.1 * reward
        for ours, theirs in zip(controller(strategy).parameters(), naive.parameters()):
            assert torch.allclose(ours, theirs, atol=2e-4)
    assert float((naive[4].bias.detach()).abs().max()) > 0.01


@pytest.mark.parametrize("name", fast(BOTH))
def test_memory_does_not_grow_with_the_epoch(name: str) -> None:
    strategy = build(name)

    def numbers_after(batches: int) -> tuple[int, int]:
        for _ in range(batches):
            assert strategy(evidence()).grad_fn is None
        gc.collect()
        alive = sum(v.numel() for v in gc.get_objects() if isinstance(v, Tensor))
        return alive, sum(v.numel() for v in strategy.state_dict().values())

    assert numbers_after(2) == numbers_after(300)
    assert int(strategy.samples) == 302 * 8


def test_looking_at_weights_is_no_sample() -> None:
    strategy = build("autodenoise_h")
    with torch.no_grad():
        strategy(evidence())
    assert int(strategy.samples) == 0
    assert not strategy.score.any()


@pytest.mark.parametrize("name", BOTH)
def test_weights_are_in_full_precision_under_autocast(name: str) -> None:
    seen = evidence()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = build(name)(seen)
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("name", BOTH)
def test_state_goes_into_a_strategy_that_has_seen_nothing(name: str) -> None:
    """Also in the middle of an epoch: what was gathered of it goes along."""
    whole, fresh = build(name), build(name, seed=4)
    learn(whole, [0.5, 0.6, 0.4])
    whole(evidence())
    fresh.load_state_dict({key: value.clone() for key, value in whole.state_dict().items()})
    for strategy in (whole, fresh):
        torch.manual_seed(8)
        learn(strategy, [0.7, 0.3])
    for key, value in whole.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value), key
    assert len(whole.get_extra_state()) == 1 + 2 * len(whole.score)


# A toy problem: sequences of two kinds that their state tells apart, and a reward for the weights.


def two_kinds(generator: torch.Generator, rows: int = 256) -> tuple[Tensor, Evidence]:
    good = torch.rand(rows, generator=generator) < 0.5
    sign = torch.where(good, 1.0, -1.0).unsqueeze(1)
    user, item = torch.tensor([[0.5, -0.5, 0.0, 0.0]]), torch.tensor([[0.0, 0.5, 0.0]])
    ids = torch.arange(rows)
    return good, Evidence(
        torch.rand(rows, generator=generator) * 3,
        ids,
        ids,
        representation=sign * user + 0.3 * torch.randn(rows, 4, generator=generator),
        item_embedding=sign * item + 0.3 * torch.randn(rows, 3, generator=generator),
    )


def difference(good: Tensor, bad: Tensor) -> float:
    """Best, 1: every good sequence counts (at least) twice, every bad one is deleted."""
    return float(good.clamp(max=2).mean() - bad.clamp(max=2).mean()) / 2


def order(good: Tensor, bad: Tensor) -> float:
    """Best, 1: every good sequence weighs more than any bad one; the AUC of the weights."""
    apart = good.unsqueeze(1) - bad.unsqueeze(0)
    return float((apart > 0).float().mean() + 0.5 * (apart == 0).float().mean())


@pytest.mark.parametrize("seed", fast(range(3)))
@pytest.mark.parametrize(
    ("name", "rate", "epochs", "reward_of"),
    [
        ("autodenoise_h", 0.01, 150, difference),
        ("autodenoise_s", 0.003, 300, difference),
        ("autodenoise_s", 0.003, 150, order),
    ],
)
def test_the_best_policy_is_found(
    name: str, rate: float, epochs: int, reward_of: Callable[[Tensor, Tensor], float], seed: int
) -> None:
    strategy = build(
        name,
        seed=seed,
        autodenoise_hidden_sizes=[32, 16],
        autodenoise_learning_rate=rate,
        autodenoise_baseline_decay=0.5,
    )
    generator = torch.Generator().manual_seed(seed)
    rewards = []
    for _ in range(epochs):
        good, seen = two_kinds(generator)
        given = strategy(seen)
        rewards.append(reward_of(given[good], given[~good]))
        strategy.receive_reward(rewards[-1])
    nothing_known = 0.0 if reward_of is difference else 0.5
    assert rewards[0] == pytest.approx(nothing_known, abs=0.15)
    assert sum(rewards[-10:]) / 10 > 0.92
    assert float(given[good].mean()) > 2 * float(given[~good].mean())


# With RecBole.


def test_the_trainer_gives_the_reward_of_every_epoch() -> None:
    run, trainer = train("SASRec", "autodenoise_h", epochs=4, **SIZES)
    assert int(trainer.weighting.rewards) == 4
    assert int(trainer.weighting.samples) == 0
    assert 0 < float(trainer.weighting.baseline) < 1
    assert "auc" in run.valid
    assert run.parameters["recogniser"] == len(trainer.weighting.score) > 0
    means = [epoch["mean_weight"] for epoch in trainer.history]
    assert all(0.7 < mean < 1.3 for mean in means)


def test_the_recommender_takes_no_gradient_from_the_controller() -> None:
    """With the same weights given from outside, the recommender's gradients are the same."""
    config, (train_data, _, _), model = assemble("SASRec", weighting="autodenoise_s")
    batch = next(iter(DenoisingTrainer(config, model).loader_of(train_data)))
    drawn: list[Tensor] = []

    def gradients(weigh: Any) -> list[Tensor]:
        model.weighting.weigh = weigh
        model.zero_grad()
        torch.manual_seed(5)
        model.calculate_loss(batch).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    own = model.weighting.weigh

    def remember(seen: Evidence) -> Tensor:
        drawn.append(own(seen))
        return drawn[-1]

    first = gradients(remember)
    second = gradients(lambda seen: drawn[0])
    assert all(torch.equal(x, y) for x, y in zip(first, second))
    assert all(p.grad is None for p in controller(model.weighting).parameters())


@pytest.mark.parametrize("model", fast(["SASRec", "MF", "WideDeep", "GRU4Rec", "DIN", "BPR"], 3))
@pytest.mark.parametrize("weighting", BOTH)
def test_models_train(model: str, weighting: str) -> None:
    run, _ = train(model, weighting, epochs=2, **SIZES)
    assert 0 < run.test["auc"] <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_step": 2}, "use eval_step=1 instead of 2"),
        ({"eval_step": 0}, "use eval_step=1 instead of 0"),
        ({"autodenoise_reward": "LogLoss"}, "autodenoise_reward=LogLoss is better when smaller"),
        ({"autodenoise_reward": "NDCG@7"}, r"is not computed.*Hit@5, Hit@10, NDCG@5, NDCG@10"),
        ({"autodenoise_reward": "NDCG"}, "autodenoise_reward=NDCG is not computed"),
        ({"autodenoise_reward": "Recall@5"}, "autodenoise_reward=Recall@5 is not computed"),
        ({"autodenoise_actions": 0}, "autodenoise_actions=0"),
    ],
)
def test_a_reward_that_would_not_come_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        DenoisingConfig("SASRec", "tiny", None, settings(weighting="autodenoise_h", **changes))
    assert "\n" not in str(caught.value)


def test_training_without_validation_data_is_refused() -> None:
    split = {**LEAVE_ONE_OUT, "split": {"LS": "test_only"}, "mode": "full"}
    with pytest.raises(UsageError, match="learns from validation data, which eval_args split"):
        train("SASRec", "autodenoise_s", eval_args=split)


@pytest.mark.parametrize("metrics", [["Hit", "NDCG"], ["AUC", "NDCG"], ["auc", "NDCG"]])
def test_auc_is_computed_where_it_is_the_reward(metrics: list[str]) -> None:
    config = DenoisingConfig(
        "SASRec", "tiny", None, settings(weighting="autodenoise_s", metrics=metrics)
    )
    assert [name.lower() for name in config["value_metrics"]] == ["auc"]
    assert config["valid_metric"] == "NDCG@10"
    for other in ({"weighting": "none"}, {"autodenoise_reward": "NDCG@10"}):
        keys = settings(**{"weighting": "autodenoise_s", "metrics": ["NDCG"], **other})
        assert DenoisingConfig("SASRec", "tiny", None, keys)["value_metrics"] == []


def test_another_metric_can_be_the_reward() -> None:
    run, trainer = train("MF", "autodenoise_h", autodenoise_reward="ndcg@5", epochs=1, **SIZES)
    assert float(trainer.weighting.baseline) == pytest.approx(run.valid["ndcg@5"])
