"""AEL: gate and losses on numbers worked by hand, stages, what is frozen, resume, bad values."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import UserDataLoader
from recbole.utils import ModelType, init_seed
from torch import Tensor

import recbole_atjt
from recbole_atjt import DenoisingConfig, DenoisingRecommender, StagedTrainer, UsageError
from recbole_atjt.cli import main
from recbole_atjt.host.registry import recbole_models
from recbole_atjt.model.ael import AEL, squared_error
from recbole_atjt.model.ael_settings import (
    COMBINATIONS,
    PARENTS,
    STAGES,
    AELSettings,
)
from recbole_atjt.model.autoencoder import SubAutoencoder
from recbole_atjt.model.gate import (
    NoisyTopKGate,
    chance_of_choice,
    importance_loss,
    keep_top_k,
    load_loss,
    squared_variation,
)
from recbole_atjt.model.table import find_model, own_models
from recbole_atjt.report.result import RunResult
from recbole_atjt.report.table import comparison
from tests.runs import assemble, settings, train
from tests.tiers import fast

KEYS: dict[str, Any] = {
    "ael_hidden_sizes": [8, 5, 3],
    "ael_negatives": 6,
    "ael_gate_learning_rate": 0.05,
    "epochs": 3,
    "stopping_step": 1,
    "train_batch_size": 8,
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "full"},
}


def prepared(**changes: Any) -> tuple[StagedTrainer, Any, Any]:
    """Return a trainer, its training and its validation data."""
    config, (train_data, valid_data, _), model = assemble("AEL", **{**KEYS, **changes})
    return StagedTrainer(config, model), train_data, valid_data


def built(**changes: Any) -> AEL:
    """Return an untrained model."""
    model = assemble("AEL", **{**KEYS, **changes})[2]
    assert isinstance(model, AEL)
    return model


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(module.state_dict()))


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def users(model: AEL) -> Tensor:
    return torch.arange(1, model.n_users)


# The gate


def test_the_two_largest_share_by_softmax() -> None:
    scores = torch.tensor([[math.log(3.0), 0.0, -1.0], [0.0, -2.0, math.log(4.0)]])
    expected = torch.tensor([[0.75, 0.25, 0.0], [0.2, 0.0, 0.8]])
    assert torch.allclose(keep_top_k(scores, 2), expected)
    assert torch.allclose(keep_top_k(scores, 1), torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]))
    assert torch.allclose(keep_top_k(scores, 3), scores.softmax(dim=1))


def test_squared_variation_by_hand() -> None:
    assert squared_variation(torch.tensor([1.0, 2.0, 3.0])).item() == pytest.approx(1 / 6)
    assert squared_variation(torch.tensor([4.0, 4.0, 4.0])).item() == 0.0
    assert squared_variation(torch.tensor([3.0, 0.0, 0.0])).item() == pytest.approx(2.0)
    assert squared_variation(torch.zeros(3)).item() == 0.0


def test_importance_by_hand() -> None:
    """The sums over the batch are 1.5, 0.5 and 1: mean 1, variance 1/6."""
    weights = torch.tensor([[0.75, 0.25, 0.0], [0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    assert importance_loss(weights).item() == pytest.approx(1 / 6)


def test_chance_of_choice_by_hand() -> None:
    """The chosen are measured at the third noisy score, the one left out at the second."""
    clean = torch.tensor([[1.0, 0.5, 0.0]])
    noisy = torch.tensor([[2.0, 0.0, 1.0]])
    deviation = torch.tensor([[1.0, 0.5, 2.0]])
    phi = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor([1.0, -1.0, 0.0]))
    assert torch.allclose(chance_of_choice(clean, noisy, deviation, 2), phi.unsqueeze(0))


def naive_chances(clean: Any, noisy: Any, deviation: Any, k: int) -> list[list[float]]:
    found = []
    for row, scores in enumerate(noisy):
        chances = []
        for expert in range(len(scores)):
            others = sorted((s for i, s in enumerate(scores) if i != expert), reverse=True)
            away = (clean[row][expert] - others[k - 1]) / deviation[row][expert]
            chances.append(0.5 * (1 + math.erf(away / math.sqrt(2))))
        found.append(chances)
    return found


@pytest.mark.parametrize("k", [1, 2, 3])
def test_load_is_that_of_a_naive_loop(k: int) -> None:
    clean, noise = torch.randn(7, 4), torch.randn(7, 4)
    deviation = torch.rand(7, 4) + 0.1
    noisy = clean + noise * deviation
    expected = naive_chances(clean.tolist(), noisy.tolist(), deviation.tolist(), k)
    found = chance_of_choice(clean, noisy, deviation, k)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)
    loads = [sum(row[expert] for row in expected) for expert in range(4)]
    mean = sum(loads) / 4
    variance = sum((load - mean) ** 2 for load in loads) / 4
    assert load_loss(found).item() == pytest.approx(variance / mean**2, rel=1e-4)


def test_chances_are_those_of_new_noise() -> None:
    """Noise drawn anew for one expert, the others' kept: it is chosen that often."""
    clean = torch.tensor([0.3, -0.2, 0.1])
    noisy = torch.tensor([0.9, -0.6, 0.4])
    deviation = torch.tensor([0.7, 0.9, 0.5])
    chances = chance_of_choice(clean[None], noisy[None], deviation[None], 2)[0]
    for expert in range(3):
        drawn = noisy.repeat(200_000, 1)
        drawn[:, expert] = clean[expert] + torch.randn(200_000) * deviation[expert]
        often = (keep_top_k(drawn, 2)[:, expert] > 0).float().mean()
        assert often.item() == pytest.approx(chances[expert].item(), abs=0.005)


def test_all_experts_are_always_chosen_when_all_may_be() -> None:
    gate = NoisyTopKGate(4, 3, 3).train()
    _, chances = gate(torch.rand(5, 4))
    assert torch.equal(chances, torch.ones(5, 3))
    assert load_loss(chances).item() == 0.0


def test_a_new_gate_has_noise_alone_and_none_at_evaluation() -> None:
    gate = NoisyTopKGate(4, 3, 2).train()
    x = torch.rand(3000, 4)
    weights, chances = gate(x)
    assert torch.equal((weights > 0).sum(dim=1), torch.full((3000,), 2))
    assert torch.allclose(weights.sum(dim=1), torch.ones(3000))
    assert torch.allclose((weights > 0).float().mean(dim=0), torch.full((3,), 2 / 3), atol=0.05)
    assert importance_loss(weights).item() < 0.01
    assert chances.mean(dim=0).tolist() == pytest.approx([2 / 3] * 3, abs=0.05)
    gate.eval()
    torch.nn.init.normal_(gate.signal.weight)
    torch.nn.init.normal_(gate.noise.weight)
    first, second = gate(x)[0], gate(x)[0]
    assert torch.equal(first, second)
    assert torch.allclose(first, keep_top_k(x @ gate.signal.weight.T, 2))


def test_the_losses_of_the_gate_are_differentiable() -> None:
    clean = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    deviation = torch.rand(5, 3, dtype=torch.float64) + 0.2
    deviation.requires_grad_(True)
    noise = torch.randn(5, 3, dtype=torch.float64)

    def losses(clean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        noisy = clean + noise * deviation
        return (
            importance_loss(keep_top_k(noisy, 2)),
            load_loss(chance_of_choice(clean, noisy, deviation, 2)),
        )

    assert torch.autograd.gradcheck(losses, (clean, deviation))


# The autoencoders and what they are combined to


def test_a_sub_autoencoder_adds_the_user_before_the_sigmoid() -> None:
    autoencoder = SubAutoencoder(3, 2, 1)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.fill_(0.5)
        autoencoder.user.weight[2] = -1.0
    code = autoencoder.encode(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([1, 2]))
    assert code.flatten().tolist() == pytest.approx(
        [1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(-0.5))]
    )
    decoded = autoencoder.decode(torch.tensor([[1.0]]))
    assert decoded.tolist()[0] == pytest.approx([1 / (1 + math.exp(-1.0))] * 2)


def naive_parents(model: AEL, x: Tensor, user: Tensor) -> list[Tensor]:
    large, medium, small = model.autoencoders.values()
    first = large.encode(x, user)
    second = medium.encode(first, user)
    third = small.encode(second, user)
    return [
        large.decode(first),
        large.decode(medium.decode(second)),
        large.decode(medium.decode(small.decode(third))),
    ]


@pytest.mark.parametrize("combine", fast(COMBINATIONS, 2))
def test_what_is_combined(combine: str) -> None:
    model = built().eval()
    assert model.gate is not None
    torch.nn.init.normal_(model.gate.signal.weight)
    model.combine = combine
    user = users(model)
    x = model.get_rating_matrix(user)
    parents = naive_parents(model, x, user)
    if combine == "average":
        expected = sum(parents) / 3
    elif combine == "gate":
        weights = keep_top_k(x @ model.gate.signal.weight.T, 2)
        expected = sum(weights[:, i : i + 1] * parent for i, parent in enumerate(parents))
    else:
        expected = parents[PARENTS.index(combine)]
    found = model(user)
    assert torch.allclose(found, expected, atol=1e-6)
    items = torch.randint(1, model.n_items, (len(user),))
    pairs = {model.USER_ID: user, model.ITEM_ID: items}
    assert torch.equal(model.predict(pairs), found[torch.arange(len(user)), items])
    assert torch.equal(model.full_sort_predict(pairs), found.flatten())


@pytest.mark.parametrize(
    ("combine", "stages"),
    [
        ("mild", ["large"]),
        ("moderate", ["large", "medium"]),
        ("strong", ["large", "medium", "small"]),
        ("average", ["large", "medium", "small"]),
        ("gate", ["large", "medium", "small", "gate"]),
    ],
)
def test_stages_and_parts_are_those_that_are_needed(combine: str, stages: list[str]) -> None:
    model = built(ael_combine=combine, ael_epochs=[9, 1, 2, 1], learning_rate=0.01)
    assert [stage.name for stage in model.stages] == stages
    assert [stage.epochs for stage in model.stages] == [3, 1, 2, 1][: len(stages)]
    rates = [0.01, 0.01, 0.01, 0.05]
    assert [stage.learning_rate for stage in model.stages] == rates[: len(stages)]
    assert list(model.autoencoders) == [name for name in stages if name != "gate"]
    assert (model.gate is not None) == (combine == "gate")


@pytest.mark.parametrize("name", STAGES)
def test_only_the_stages_part_gets_gradients(name: str) -> None:
    model = built().train()
    part = model.start_stage(name)
    loss = model.calculate_loss({model.USER_ID: users(model)})
    total = sum(loss) if isinstance(loss, tuple) else loss
    total.backward()
    trained = {id(parameter) for parameter in part.parameters()}
    for parameter_name, parameter in model.named_parameters():
        if id(parameter) in trained:
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name
        else:
            assert parameter.grad is None, parameter_name


def test_the_loss_counts_observed_items_and_the_negatives() -> None:
    model = built(ael_corruption=0.0, ael_negatives=4).train()
    model.start_stage("medium")
    user = users(model)
    x = model.get_rating_matrix(user)
    counted = model._observed_and_negatives(x)
    assert not counted[:, 0].any()
    assert counted[x > 0].all()
    assert torch.equal(counted.sum(dim=1), (x > 0).sum(dim=1) + 4)
    decoded = naive_parents(model, x, user)[1]
    total, entries = 0.0, 0
    for row in range(len(user)):
        for item in range(model.n_items):
            if counted[row, item]:
                total += (decoded[row, item] - x[row, item]).item() ** 2
                entries += 1
    assert squared_error(decoded, x, counted).item() == pytest.approx(total / entries, rel=1e-5)
    model.settings = AELSettings(ael_negatives=10_000)
    everything = model._observed_and_negatives(x)
    assert everything[:, 1:].all()
    assert not everything[:, 0].any()


def test_negatives_are_drawn_evenly() -> None:
    model = built(ael_negatives=5)
    x = torch.zeros(4000, model.n_items)
    x[:, 3] = 1.0
    drawn = model._observed_and_negatives(x)[:, 1:].float().mean(dim=0)
    others = torch.cat((drawn[:2], drawn[3:]))
    assert drawn[2].item() == 1.0
    assert torch.allclose(others, torch.full_like(others, 5 / (model.n_items - 2)), atol=0.03)


def test_the_corruption_masks_out_while_training_only() -> None:
    model = built(ael_corruption=0.25)
    x = torch.ones(200, 200)
    masked = model.train().corrupt(x)
    assert (masked == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert masked.mean().item() == pytest.approx(1.0, abs=0.02)  # CDAE, 3.2: unbiased
    assert torch.equal(model.eval().corrupt(x), x)


def test_users_without_interactions_are_left_out() -> None:
    model = built().train()
    model.start_stage("large")
    torch.manual_seed(3)
    alone = model.calculate_loss({model.USER_ID: torch.tensor([4, 5])})
    torch.manual_seed(3)
    beside_padding = model.calculate_loss({model.USER_ID: torch.tensor([0, 4, 5])})
    assert alone.item() == beside_padding.item()
    for name in ("large", "gate"):
        model.start_stage(name)
        loss = model.calculate_loss({model.USER_ID: torch.tensor([0])})
        total = sum(loss) if isinstance(loss, tuple) else loss
        assert total.item() == 0.0
        total.backward()


# The stages in training


class Watched(StagedTrainer):
    """Keeps the model's state at the start of each stage and the scores of validation."""

    def __init__(self, *args: Any) -> None:
        self.starts: list[tuple[str, int, dict[str, Tensor]]] = []
        self.scores: list[tuple[str, int, float]] = []
        super().__init__(*args)

    def _start_stage(self, number: int, first_epoch: int) -> None:
        super()._start_stage(number, first_epoch)
        name = self._stages[number].name
        self.starts.append((name, first_epoch, state_of(self.model)))

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        score, result = super()._valid_epoch(*args, **kwargs)
        stage = "end" if self._stage is None else self._stages[self._stage].name
        self.scores.append((stage, self.epoch, score))
        return score, result


def watched(**changes: Any) -> Watched:
    config, (train_data, valid_data, _), model = assemble("AEL", **{**KEYS, **changes})
    trainer = Watched(config, model)
    trainer.fit(train_data, valid_data, verbose=False)
    return trainer


@pytest.mark.parametrize("saved", fast([True, False]))
def test_frozen_experts_stay_as_they_were(saved: bool) -> None:
    config, (train_data, valid_data, _), model = assemble("AEL", **KEYS)
    trainer = Watched(config, model)
    trainer.fit(train_data, valid_data, verbose=False, saved=saved)
    assert [name for name, _, _ in trainer.starts] == list(STAGES)
    final = state_of(trainer.model)
    for number, (name, _, start) in enumerate(trainer.starts):
        after = trainer.starts[number + 1][2] if number + 1 < len(STAGES) else final
        own = "gate." if name == "gate" else f"autoencoders.{name}."
        for key, value in start.items():
            assert torch.equal(value, after[key]) != key.startswith(own), (name, key)


def test_each_stage_stops_by_itself_and_its_best_is_taken_up() -> None:
    trainer = watched(epochs=12, stopping_step=1, learning_rate=0.05)
    for (name, first, _), following in zip(trainer.starts, trainer.starts[1:]):
        scores = {epoch: score for stage, epoch, score in trainer.scores if stage == name}
        assert min(scores) == first
        assert following[1] == max(scores) + 1
        assert len(scores) <= 12
        best = max(scores.values())
        last_best = max(epoch for epoch, score in scores.items() if score == best)
        assert len(scores) == 12 or max(scores) == last_best + 2
        config, (_, valid_data, _), model = assemble("AEL", **KEYS)
        model.load_state_dict(following[2])
        model.combine = PARENTS[STAGES.index(name)]
        score, _ = StagedTrainer(config, model)._valid_epoch(valid_data)
        assert score == best, name


def test_the_optimiser_is_the_stages() -> None:
    trainer, train_data, _ = prepared(learner="adam", learning_rate=0.02)
    for number, name in enumerate(STAGES):
        trainer._start_stage(number, 0)
        (group,) = trainer.optimizer.param_groups
        assert group["lr"] == (0.05 if name == "gate" else 0.02)
        part = trainer.model.gate if name == "gate" else trainer.model.autoencoders[name]
        assert {id(p) for p in group["params"]} == {id(p) for p in part.parameters()}
        assert isinstance(train_data, UserDataLoader)


@pytest.mark.parametrize("combine", fast(PARENTS))
def test_a_parent_alone_is_the_one_inside_the_ensemble(combine: str) -> None:
    whole = watched()
    alone = watched(ael_combine=combine)
    expected = whole.model.autoencoders.state_dict()
    for key, value in alone.model.autoencoders.state_dict().items():
        assert torch.equal(value, expected[key]), key
    whole.model.combine = combine
    user = users(whole.model)
    assert torch.equal(alone.model.eval()(user), whole.model.eval()(user))


def test_the_average_is_what_is_validated_in_the_end() -> None:
    trainer, train_data, valid_data = prepared(ael_combine="average")
    score, result = trainer.fit(train_data, valid_data, verbose=False)
    assert trainer.model.combine == "average"
    again = trainer.evaluate(valid_data)
    assert again == result
    assert score == result["ndcg@10"]
    trainer.model.combine = "strong"
    assert trainer.evaluate(valid_data, load_best_model=False) != result


def test_without_validation_the_last_epoch_counts() -> None:
    trainer, train_data, _ = prepared(epochs=2)
    assert trainer.fit(train_data, verbose=False)[1] is None
    assert sorted(trainer.train_loss_dict) == list(range(8))
    assert trainer.best_epoch == 7


def test_a_seed_gives_the_same_run() -> None:
    first, _ = train("AEL", "none", **KEYS)
    second, _ = train("AEL", "none", **KEYS)
    other, _ = train("AEL", "none", **{**KEYS, "seed": 8})
    assert (first.valid, first.test, first.gate) == (second.valid, second.test, second.gate)
    assert first.test != other.test


# Resume


class Rising(StagedTrainer):
    """Finds each epoch better than the one before, so that each is saved."""

    stop_after: int | None = None

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        _, result = super()._valid_epoch(*args, **kwargs)
        return float(self.epoch), result

    def _save_checkpoint(self, epoch: int, *args: Any, **kwargs: Any) -> None:
        super()._save_checkpoint(epoch, *args, **kwargs)
        if epoch == self.stop_after:
            raise KeyboardInterrupt


def fit(resume: str | None = None, stop_after: int | None = None, **changes: Any) -> Rising:
    config, (train_data, valid_data, _), model = assemble("AEL", **{**KEYS, **changes})
    trainer = Rising(config, model)
    trainer.stop_after = stop_after
    if resume:
        torch.manual_seed(12345)
        trainer.resume_checkpoint(resume, train_data)
    try:
        trainer.fit(train_data, valid_data, verbose=False)
    except KeyboardInterrupt:
        assert stop_after is not None
    return trainer


@pytest.mark.parametrize("stop_after", fast([1, 2, 4, 9, 11], [4]))
def test_resume_in_any_stage_is_exact(stop_after: int) -> None:
    """Epochs 2 and 11 are the last of a stage."""
    whole = fit()
    half = fit(stop_after=stop_after)
    rest = fit(resume=half.saved_model_file)
    assert sorted(whole.train_loss_dict) == list(range(12))
    assert {**half.train_loss_dict, **rest.train_loss_dict} == whole.train_loss_dict
    assert_same(rest.model.state_dict(), whole.model.state_dict())
    assert rest.best_valid_result == whole.best_valid_result


def test_resume_without_validation_is_exact() -> None:
    def run(stop_after: int | None = None, resume: str | None = None) -> Rising:
        config, (train_data, _, _), model = assemble("AEL", **KEYS)
        trainer = Rising(config, model)
        trainer.stop_after = stop_after
        if resume:
            trainer.resume_checkpoint(resume, train_data)
        try:
            trainer.fit(train_data, verbose=False)
        except KeyboardInterrupt:
            assert stop_after is not None
        return trainer

    whole, half = run(), run(stop_after=4)
    rest = run(resume=half.saved_model_file)
    assert_same(rest.model.state_dict(), whole.model.state_dict())


def test_stages_may_be_longer_after_resume() -> None:
    half = fit(stop_after=4)
    rest = fit(resume=half.saved_model_file, epochs=5)
    assert sorted({**half.train_loss_dict, **rest.train_loss_dict}) == list(range(3 + 5 + 5 + 5))


def test_an_unfinished_ensemble_is_not_evaluated() -> None:
    half = fit(stop_after=4)
    trainer, _, valid_data = prepared()
    with pytest.raises(UsageError, match="was kept in stage medium of large, medium, small, gate"):
        trainer.evaluate(valid_data, model_file=half.saved_model_file)
    done = fit()
    assert trainer.evaluate(valid_data, model_file=done.saved_model_file) == done.best_valid_result


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ael_combine": "strong"},
            "trained with ael_combine=gate, this run has ael_combine=strong",
        ),
        ({"ael_corruption": 0.1}, "trained with ael_corruption=0.5, this run has"),
        ({"ael_hidden_sizes": [8, 4, 3]}, r"ael_hidden_sizes=\[8, 5, 3\], this run has"),
        ({"learner": "sgd"}, "trained with learner=adam"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(changes: dict[str, Any], message: str) -> None:
    half = fit(stop_after=4)
    with pytest.raises(UsageError, match=message) as caught:
        fit(resume=half.saved_model_file, **changes)
    assert "\n" not in str(caught.value)


# By the command, from Python, and in a RecBole script


def test_run_reports_the_gates_choices() -> None:
    run, trainer = train("AEL", "none", **KEYS)
    assert run.gate is not None
    assert set(run.gate) == {"mild+moderate", "mild+strong", "moderate+strong"}
    assert sum(run.gate.values()) == pytest.approx(1.0)
    model = trainer.model
    counts = dict.fromkeys(run.gate, 0)
    for user in range(1, model.n_users):
        x = model.get_rating_matrix(torch.tensor([user]))
        chosen = sorted((x @ model.gate.signal.weight.T)[0].topk(2).indices.tolist())
        counts["+".join(PARENTS[expert] for expert in chosen)] += 1
    assert run.gate == {name: count / (model.n_users - 1) for name, count in counts.items()}
    text = comparison([run])
    assert f"mild+moderate for {run.gate['mild+moderate']:.1%}" in text.splitlines()[-1]
    plain, _ = train("AEL", "none", **{**KEYS, "ael_combine": "mild"})
    assert plain.gate is None
    assert "gate" not in comparison([plain])
    assert plain.parameters["recommender"] < run.parameters["recommender"]


@pytest.mark.parametrize(("k", "names"), [(1, set(PARENTS)), (3, {"mild+moderate+strong"})])
def test_other_numbers_of_experts(k: int, names: set[str]) -> None:
    run, _ = train("AEL", "none", **{**KEYS, "ael_top_k": k, "epochs": 1})
    assert run.gate is not None
    assert set(run.gate) == names


def test_a_result_written_before_the_gate_can_be_read() -> None:
    run, _ = train("BPR", "none", epochs=1, eval_args=KEYS["eval_args"])
    old = {key: value for key, value in vars(run).items() if key != "gate"}
    assert RunResult(**old) == run


def arguments(**changes: Any) -> list[str]:
    given = {**settings(**KEYS), "show_progress": False, **changes}
    return [f"--{key}={value}" for key, value in given.items()]


def test_the_command_trains_it_and_writes_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--model=AEL,MultiDAE", "--dataset=tiny", "--output_dir=out"]
    assert main([*named, *arguments()]) == 0
    out = capsys.readouterr().out
    assert "AEL on tiny, test" in out
    assert "MultiDAE on tiny, test" in out
    assert "gate: mild+moderate for " in out
    assert '"mild+moderate": ' in Path("out/result.json").read_text(encoding="utf-8")


def test_the_command_refuses_weighting_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--model=AEL", "--dataset=tiny", "--weighting=none,atjt", "--output_dir=out"]
    assert main([*named, *arguments()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "weighting=atjt does not go with model=AEL" in line
    assert not Path("out").exists()


def plain_script(**changes: Any) -> tuple[Any, Any, Any, Any]:
    """Return config, loaders and model as RecBole's own functions make them."""
    keys = {**settings(**KEYS), **changes}
    with mock.patch.object(sys, "argv", ["test"]):
        config = Config(AEL, "tiny", config_dict=keys)
    init_seed(config["seed"], True)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], True)
    return config, (train_data, valid_data, test_data), AEL(config, train_data.dataset), keys


def test_a_recbole_script_trains_it_with_our_trainer() -> None:
    config, (train_data, valid_data, test_data), model, _ = plain_script(checkpoint_dir="kept")
    assert isinstance(train_data, UserDataLoader)
    trainer = StagedTrainer(config, model)
    trainer.fit(train_data, valid_data, verbose=False)
    found = trainer.evaluate(test_data)
    run, _ = train("AEL", "none", **KEYS)
    assert {key: float(value) for key, value in found.items()} == run.test
    config, (train_data, valid_data, _), model, _ = plain_script(checkpoint_dir="kept")
    wrapped = DenoisingRecommender(model, config, train_data.dataset)
    trainer = StagedTrainer(config, wrapped)
    trainer.fit(train_data, valid_data, verbose=False)
    assert trainer.bare_model.gate_choices() == run.gate


def test_a_recbole_script_gets_our_defaults() -> None:
    config, (train_data, _, _), _, _ = plain_script()
    for key in [key for key in config.final_config_dict if key.startswith("ael_")]:
        del config.final_config_dict[key]
    model = AEL(config, train_data.dataset)
    assert model.settings == AELSettings()
    assert model.settings.ael_hidden_sizes == (128, 48, 12)


def test_recboles_own_trainer_is_told_to_be_another() -> None:
    _, (train_data, _, _), model, _ = plain_script()
    with pytest.raises(UsageError, match=r"use recbole_atjt\.StagedTrainer"):
        model.calculate_loss(next(iter(train_data)))


def test_a_wrapper_with_a_weighting_is_refused() -> None:
    config, (train_data, _, _), model, _ = plain_script()
    config["weighting"] = "atjt"
    with pytest.raises(UsageError, match="weighting=atjt does not go with model=AEL"):
        DenoisingRecommender(model, config, train_data.dataset)


def test_our_models_are_found_by_name() -> None:
    assert own_models(ModelType.GENERAL) == {"AEL": AEL}
    assert find_model("AEL") is AEL
    assert "AEL" not in recbole_models()
    with pytest.raises(UsageError, match="did you mean 'AEL'"):
        find_model("AELL")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ael_combine": "mid"}, "ael_combine=mid is unknown, did you mean 'mild'"),
        ({"ael_combine": 3}, "ael_combine=3 is not a name"),
        ({"ael_hidden_sizes": [128, 48]}, r"ael_hidden_sizes=\[128, 48\] must be 3 whole numbers"),
        ({"ael_hidden_sizes": [8, 0, 2]}, "must be 3 whole numbers of at least 1"),
        ({"ael_hidden_sizes": 128}, "ael_hidden_sizes=128 must be 3 whole numbers"),
        ({"ael_epochs": [1, 1, 1]}, r"ael_epochs=\[1, 1, 1\] must be 4 whole numbers"),
        (
            {"ael_corruption": 1.0},
            r"ael_corruption=1.0 is out of range: it must be inside \[0, 1\)",
        ),
        ({"ael_corruption": "much"}, "ael_corruption=much is not a number"),
        ({"ael_negatives": 0}, "ael_negatives=0 is out of range: it must be at least 1"),
        ({"ael_negatives": 2.5}, "ael_negatives=2.5 is not a whole number"),
        ({"ael_top_k": 4}, "ael_top_k=4 is out of range: it must be from 1 to 3"),
        ({"ael_importance": -1}, "ael_importance=-1.0 is out of range: it must be at least 0"),
        ({"ael_load": float("nan")}, "ael_load=nan is out of range"),
        ({"ael_gate_learning_rate": 0}, "ael_gate_learning_rate=0.0 is out of range"),
        ({"ael_gate": 1}, "key 'ael_gate' is unknown, did you mean 'ael_"),
        ({"weighting": "t_ce"}, "weighting=t_ce does not go with model=AEL"),
    ],
)
def test_wrong_values_end_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        DenoisingConfig("AEL", "tiny", config_dict=settings(**{**KEYS, **given}))
    assert "\n" not in str(caught.value)


def test_help_explains_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help=AEL"]) == 0
    shown = capsys.readouterr().out
    for item in fields(AELSettings):
        assert f"--{item.name}=" in shown


def test_its_keys_may_stand_beside_other_models() -> None:
    config = DenoisingConfig("BPR", "tiny", config_dict=settings(**KEYS))
    assert config["ael_negatives"] == 6


def test_run_compares_it_with_others() -> None:
    keys = settings(**{**KEYS, "epochs": 1})
    result = recbole_atjt.run(["AEL", "MultiDAE"], "tiny", "none", config_dict=keys)
    assert [run.model for run in result.runs] == ["AEL", "MultiDAE"]
    assert [run.gate is None for run in result.runs] == [False, True]
