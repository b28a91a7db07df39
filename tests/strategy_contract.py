"""Laws that every strategy keeps, whatever it weighs by: what ``Weighting`` promises.

A law takes a :class:`Subject`; whoever adds a strategy to the table, or announces one from another
package, is held to them without a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint
from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.table import build_weighting
from tests.runs import SMALL_RECOGNIZER, fit

ITEMS, LENGTH, ROWS = 12, 4, 9


@dataclass(frozen=True)
class Subject:
    """A strategy under the contract.

    Args:
        weighting: Its name.
        keys: Config keys; defaults beside them.
    """

    weighting: str
    keys: dict[str, Any] = field(default_factory=dict)

    def build(self, seed: int = 1) -> Weighting:
        """Return it as new."""
        torch.manual_seed(seed)
        config = {**SMALL_RECOGNIZER, **self.keys, "weighting": self.weighting}
        built = build_weighting(config, torch.arange(ITEMS))
        assert built is not None
        if built.reads_clicks:
            seen = evidence(rows=3 * ROWS)
            built.meet(lambda: Clicks(seen.user // 3, seen.item))
        return built.train()


def sequences(rows: int, seed: int = 2, empty: bool = False) -> tuple[Tensor, Tensor]:
    """Return histories ``[rows, LENGTH]`` of every length, or of padding alone, and targets."""
    drawn = torch.Generator().manual_seed(seed)
    history = torch.randint(1, ITEMS, (rows, LENGTH), generator=drawn)
    length = torch.zeros(rows) if empty else torch.arange(rows) % LENGTH + 1
    history[torch.arange(LENGTH) >= length.unsqueeze(1)] = 0
    return history, torch.randint(1, ITEMS, (rows,), generator=drawn)


def evidence(
    rows: int = ROWS,
    negatives: int = 0,
    dtype: torch.dtype = torch.float32,
    empty: bool = False,
    seed: int = 2,
) -> Evidence:
    """Return all that a strategy may look at, with ``negatives`` sampled for each of its rows."""
    drawn = torch.Generator().manual_seed(seed)
    size = rows * (1 + negatives)
    history, item = sequences(rows, seed, empty)
    return Evidence(
        loss=(3 * torch.rand(size, generator=drawn)).to(dtype).requires_grad_(),
        user=torch.arange(rows),
        item=item,
        history=history,
        label=(torch.arange(size) < rows).float() if negatives else None,
        epoch=1,
        representation=torch.randn(rows, 6, generator=drawn),
        item_embedding=torch.randn(rows, 5, generator=drawn),
        logits=None if negatives else torch.randn(rows, ITEMS, generator=drawn),
        negative=torch.randint(1, ITEMS, (size - rows,), generator=drawn) if negatives else None,
        true=torch.arange(rows) % 3 > 0,
    )


def pairs(rows: int = ROWS, negatives: int = 1) -> Evidence:
    """Return the evidence of rows that each compare a positive with a sampled negative."""
    drawn = torch.Generator().manual_seed(6)
    size = rows * negatives
    seen = evidence(rows, negatives - 1)
    scores = (torch.randn(size, generator=drawn), torch.randn(size, generator=drawn))
    negative = torch.randint(1, ITEMS, (size,), generator=drawn)
    return replace(seen, label=None, logits=None, pair=scores, negative=negative)


def chosen(seen: Evidence, index: Tensor) -> Evidence:
    """Return the evidence of some sequences, each with its sampled negatives."""
    sequences, size = len(seen.item), len(seen.loss)
    rows = torch.cat([index + block * sequences for block in range(size // sequences)])
    changed: dict[str, Any] = {}
    for name, value in vars(seen).items():
        if name == "negative" and value is not None:  # of all rows, or of those of negatives
            missing = size - len(value)
            changed[name] = value[rows[rows >= missing] - missing]
        elif isinstance(value, Tensor):
            changed[name] = value[rows if name in ("loss", "label") else index]
        elif isinstance(value, tuple):
            changed[name] = tuple(part[rows] for part in value)
    return replace(seen, **changed)


#: Evidence of every kind that training gives.
KINDS: dict[str, Callable[[], Evidence]] = {
    "positives": evidence,
    "negatives": lambda: evidence(negatives=2),
    "pairs": pairs,
    "pairs with two negatives": lambda: pairs(negatives=2),
    "bfloat16": lambda: evidence(negatives=1, dtype=torch.bfloat16),
    "one row": lambda: evidence(rows=1),
    "one row and its negative": lambda: evidence(rows=1, negatives=1),
    "all padding": lambda: evidence(empty=True),
    "losses of 0": lambda: replace(evidence(), loss=torch.zeros(ROWS, requires_grad=True)),
    "large losses": lambda: replace(evidence(), loss=torch.full((ROWS,), 1e4, requires_grad=True)),
}


def weights_are_weights(strategy: Weighting, seen: Evidence) -> None:
    """Finite, at least 0, one for each sequence or row; a graph where the strategy is joint."""
    weights = strategy(seen)
    assert weights.shape in ((len(seen.item),), (len(seen.loss),))
    assert weights.dtype.is_floating_point
    assert bool(torch.isfinite(weights).all())
    assert bool((weights >= 0).all())
    assert weights.requires_grad == strategy.joint
    if strategy.joint:
        (through,) = torch.autograd.grad(weights.sum(), seen.loss, allow_unused=True)
        assert through is None or not bool(through.any()), "the loss weighs itself with its graph"


def it_asks_for_all_that_it_reads(subject: Subject) -> None:
    """What a strategy does not declare to need may be missing."""
    seen, strategy = evidence(negatives=1), subject.build()
    if not strategy.needs_history:
        seen = replace(seen, history=None)
    if not strategy.needs_representation:
        seen = replace(seen, representation=None, item_embedding=None)
    weights_are_weights(strategy, seen)
    weights_are_weights(strategy, replace(seen, logits=None, pair=None, negative=None))
    with suppress(UsageError):  # an oracle says what it lacks
        weights_are_weights(strategy, replace(seen, true=None))


def its_own_loss_is_a_scalar(subject: Subject) -> None:
    """Finite, whatever the other users' sequences are, and no gradient leaves the strategy."""
    for empty, rows in ((False, ROWS), (False, 1), (True, ROWS), (True, 1)):
        strategy = subject.build()
        strategy(evidence())
        loss = own_loss(strategy, 0, sequences(rows, empty=empty))
        assert loss is not None or not strategy.wants_other_groups
        if loss is not None:
            assert loss.shape == ()
            assert bool(torch.isfinite(loss))
            loss.backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in strategy.parameters())


def evidence_is_left_alone(subject: Subject) -> None:
    """Nothing that a strategy is shown is changed in place."""
    seen, strategy = evidence(negatives=1), subject.build()
    before = {k: v.clone() for k, v in vars(seen).items() if isinstance(v, Tensor)}
    strategy(seen)
    assert all(torch.equal(getattr(seen, name), value) for name, value in before.items())


def order_does_not_matter_where_a_sequence_is_weighed_by_itself(subject: Subject) -> None:
    """``w(seen[order]) = w(seen)[order]``, and a sequence alone has the weight that it had."""
    strategy = subject.build()
    if not strategy.per_sample:
        return
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))
    for seen in (evidence(), evidence(negatives=1), pairs()):
        whole = strategy(seen).detach()
        for index in (order, order[:1]):
            rows = index if len(whole) == ROWS else torch.cat([index, index + ROWS])
            torch.testing.assert_close(strategy(chosen(seen, index)).detach(), whole[rows])


def the_same_seed_gives_the_same(subject: Subject) -> None:
    """Weights, its own loss and its state are functions of seed and evidence."""
    first, second = (lived(subject) for _ in range(2))
    same_state(first, second)
    same_future(first, second)


def state_goes_round_through_a_checkpoint(subject: Subject) -> None:
    """A new instance with the state of another is that other: state, weights, what it learns."""
    first, second = lived(subject), subject.build(seed=9)
    save_checkpoint("state.safetensors", {}, meta={}, tensors=first.state_dict())
    second.load_state_dict(load_checkpoint("state.safetensors").tensors)
    same_state(first, second)
    same_future(first, second)


def it_is_used_without_being_changed(subject: Subject) -> None:
    """Without gradients, new or in mid-training, neither state nor report takes anything in."""
    for strategy in (subject.build(), lived(subject)):
        before, said = state_of(strategy), sums_of(strategy)
        with torch.no_grad():
            weights = strategy(evidence(seed=5))
        assert bool(torch.isfinite(weights).all())
        assert not weights.requires_grad
        after = state_of(strategy)
        assert list(after) == list(before)
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert sums_of(strategy) == said


def judging_is_weighing_without_learning(subject: Subject) -> None:
    """Judging gives the weights that are applied, says probabilities or none, changes nothing."""
    strategy = lived(subject)
    for seen in (evidence(), evidence(negatives=1), pairs(), evidence(rows=1)):
        before, said = state_of(strategy), sums_of(strategy)
        torch.manual_seed(5)
        found = strategy.judge(seen)
        assert strategy.training
        torch.manual_seed(5)
        with torch.no_grad():
            weights = strategy.eval()(seen)
        strategy.train()
        # with candidates drawn at random two looks differ, so that shapes alone are compared then
        assert found.weight.shape == seen.item.shape == weights[: len(seen.item)].shape
        assert not found.weight.requires_grad
        assert bool(((found.weight >= 0) & found.weight.isfinite()).all())
        if strategy.per_sample:
            torch.testing.assert_close(found.weight, weights[: len(seen.item)])
        assert (found.noise is None) != strategy.weighs_by_probability
        if found.noise is not None:
            assert found.noise.shape == seen.item.shape
            assert bool(((found.noise >= 0) & (found.noise <= 1)).all())
        after = state_of(strategy)
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert sums_of(strategy) == said


def the_report_is_filled(subject: Subject) -> None:
    """It counts an epoch's weights, apart where the truth is known, and starts anew with each."""
    seen, strategy = evidence(negatives=1), subject.build()
    assert seen.true is not None
    strategy.start_epoch(0)
    applied = strategy(seen).detach()[:ROWS].double()
    strategy.end_epoch(0)
    report = strategy.report
    assert report.weights.count in (ROWS, 2 * ROWS)
    assert report.true_positive.count == int(seen.true.sum())
    assert report.false_positive.count == int((~seen.true).sum())
    torch.testing.assert_close(report.true_positive.mean, float(applied[seen.true].mean()))
    torch.testing.assert_close(report.false_positive.mean, float(applied[~seen.true].mean()))
    figures = strategy.describe()
    assert {"mean_weight", "true_positive", "false_positive"} <= figures.keys()
    assert all(map(torch.isfinite, map(torch.tensor, figures.values())))
    complaint = strategy.complaint()
    assert complaint is None or "\n" not in complaint
    strategy.start_epoch(1)
    assert sums_of(strategy) == sums_of(subject.build())


def lived(subject: Subject) -> Weighting:
    """Return a strategy after two epochs of all that a trainer does with it."""
    strategy = subject.build()
    strategy.prepare(others)
    optimizer = strategy.build_optimizer()
    for epoch in range(2):
        live(strategy, optimizer, epoch)
    return strategy


def live(strategy: Weighting, optimizer: torch.optim.Optimizer | None, epoch: int) -> list[Tensor]:
    """Go through an epoch; return weights and own losses."""
    found: list[Tensor] = []
    strategy.start_epoch(epoch)
    for group in strategy.phases(epoch):
        seen = replace(evidence(negatives=1, seed=epoch), epoch=epoch, group=group)
        weights, own = strategy(seen), own_loss(strategy, group, sequences(ROWS, epoch))
        if optimizer is not None:
            optimizer.zero_grad()
            main = (weights * seen.loss.detach()[: len(weights)]).mean()
            (main if own is None else main + own).backward()
            optimizer.step()
        found += [weights.detach(), torch.zeros(()) if own is None else own.detach()]
    strategy.end_epoch(epoch)
    if strategy.reward:
        strategy.receive_reward(0.5 + 0.1 * epoch)
    return found


def own_loss(strategy: Weighting, group: int, other: tuple[Tensor, Tensor]) -> Tensor | None:
    """Return a strategy's own loss as the recommender asks for it: of others, or of what it saw."""
    if strategy.wants_other_groups:
        return strategy.auxiliary_loss(group, *other)
    return strategy.evidence_loss()


def others() -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield what strategies that are trained alone first are trained on."""
    yield from ((group, *sequences(ROWS, seed=group)) for group in (0, 1))


def state_of(strategy: Weighting) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in strategy.state_dict().items()}


def same_state(first: Weighting, second: Weighting) -> None:
    one, other = first.state_dict(), second.state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def same_future(first: Weighting, second: Weighting) -> None:
    """Assert that two strategies go on alike; their optimisers are the trainer's to keep."""
    futures = []
    for strategy in (first, second):
        torch.manual_seed(4)
        futures.append([value for epoch in (2, 3) for value in live(strategy, None, epoch)])
    assert all(torch.equal(one, other) for one, other in zip(*futures))
    same_state(first, second)


def sums_of(strategy: Weighting) -> dict[str, dict[str, Any]]:
    """Return all that the report has summed up, part by part."""
    parts = vars(strategy.report).items()
    return {name: {key: plain(value) for key, value in vars(part).items()} for name, part in parts}


def plain(value: Any) -> Any:
    """Return a tensor as lists, and others as they are."""
    return value.tolist() if isinstance(value, Tensor) else value


#: For every strategy by itself.
LAWS = [
    it_asks_for_all_that_it_reads,
    its_own_loss_is_a_scalar,
    evidence_is_left_alone,
    order_does_not_matter_where_a_sequence_is_weighed_by_itself,
    the_same_seed_gives_the_same,
    state_goes_round_through_a_checkpoint,
    it_is_used_without_being_changed,
    judging_is_weighing_without_learning,
    the_report_is_filled,
]

#: A run whose data knows its noise and whose validation gives what any strategy may learn from.
TRAINING: dict[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
    "clean_eval": {"rating": "[3,inf)"},
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "order": "TO",
        "group_by": "user",
        "mode": "uni10",
    },
}


def training_goes_on_where_it_stopped(subject: Subject) -> None:
    """An epoch, a checkpoint and another epoch are two epochs, bit for bit."""
    changes = {**TRAINING, **subject.keys, "weighting": subject.weighting}
    whole, half = fit(2, **changes), fit(1, **changes)
    rest = fit(2, resume=half.saved_model_file, **changes)
    assert rest.start_epoch == 1
    assert {**half.train_loss_dict, **rest.train_loss_dict} == whole.train_loss_dict
    assert rest.history == whole.history
    assert rest.history[: len(half.history)] == half.history
    assert rest.best_valid_result == whole.best_valid_result
    model = whole.bare_model.state_dict()
    assert all(torch.equal(rest.bare_model.state_dict()[k], v) for k, v in model.items())
    same_state(rest.weighting, whole.weighting)


def evaluation_leaves_it_alone(subject: Subject) -> None:
    """Validation and test change nothing of a strategy, and find weights in its report."""
    trainer = fit(1, **{**TRAINING, **subject.keys, "weighting": subject.weighting})
    strategy = trainer.weighting
    before, said, report = state_of(strategy), sums_of(strategy), strategy.report
    assert report.weights.count > 0
    assert report.true_positive.count > 0
    assert report.false_positive.count > 0
    trainer.evaluate(trainer.valid_data, load_best_model=False)
    after = state_of(strategy)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert sums_of(strategy) == said


#: For every strategy beside a recommender.
TRAINING_LAWS = [training_goes_on_where_it_stopped, evaluation_leaves_it_alone]
