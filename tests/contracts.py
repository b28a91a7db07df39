"""Laws that the seam keeps with every model."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_atjt.seam.criterion import Seam
from recbole_atjt.seam.reduction import Record
from tests.models import Case

#: Laws hold to this part of the size of what is compared.
EXACT = 1e-6


def seed() -> None:
    """Set every generator that models draw from."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


@contextmanager
def buffers_kept(model: Any) -> Iterator[None]:
    """Undo what a forward pass does to running statistics."""
    kept = {name: value.clone() for name, value in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(kept[name])


@contextmanager
def counters_kept(model: Any) -> Iterator[None]:
    """Undo what a loss does to numbers that a model counts, such as steps of annealing."""
    kept = {name: value for name, value in vars(model).items() if isinstance(value, (int, float))}
    yield
    vars(model).update(kept)


def loss_of(case: Case, weights: Tensor | None, batch: Any = None) -> tuple[Tensor, Record | None]:
    """Return the loss with its graph, from the same random state each time; None: plain RecBole."""
    batch = case.batch if batch is None else batch
    own = copy.copy(batch)
    own.interaction = dict(batch.interaction)
    seed()
    with counters_kept(case.model):
        if weights is None:
            return case.model.calculate_loss(own), None
        with Seam(case.model).reducing(lambda loss: weights, len(own)) as record:
            return case.model.calculate_loss(own), record


def gradients_of(case: Case, weights: Tensor | None) -> dict[str, Tensor]:
    """Return the gradient of every parameter that has one."""
    case.model.zero_grad(set_to_none=True)
    loss_of(case, weights)[0].backward()
    found = {n: p.grad.clone() for n, p in case.model.named_parameters() if p.grad is not None}
    case.model.zero_grad(set_to_none=True)
    return found


def mean_of(record: Record, weights: Tensor | None = None) -> float:
    """Return what a weighted mean of the recorded losses is, by a plain loop."""
    loss = record.loss.double()
    share = torch.ones_like(loss) if record.share is None else record.share.double()
    weights = torch.ones_like(loss) if weights is None else weights.double()
    return sum(float(s * w * x) for s, w, x in zip(share, weights, loss)) / len(loss)


def some_weights(case: Case) -> Tensor:
    """Return random weights, ``[rows]``."""
    return torch.rand(len(case.batch), generator=torch.Generator().manual_seed(5)) + 0.1


def unit_weights_are_plain(case: Case) -> None:
    """Weights of 1 give RecBole's loss, and its gradients to the bit."""
    ones = torch.ones(len(case.batch))
    plain, ours = loss_of(case, None)[0], loss_of(case, ones)[0]
    assert ours.dim() == plain.dim()
    assert ours.item() == pytest.approx(plain.item(), rel=EXACT), case.name
    expected, found = gradients_of(case, None), gradients_of(case, ones)
    assert expected.keys() == found.keys(), case.name
    size = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert size > 0, case.name
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= EXACT * size, f"{case.name}: {name}"
        alike = torch.equal(found[name], gradient)
        assert alike or case.name.startswith("BERT4Rec"), f"{case.name}: {name}"


def zero_weight_removes_the_sample(case: Case) -> None:
    """Without sample k, the loss misses exactly its part of the main term."""
    weights = some_weights(case)
    whole, record = loss_of(case, weights)
    sample = int(record.loss.argmax())
    assert record.loss[sample] > 0, case.name
    alone = torch.zeros_like(weights)
    alone[sample] = weights[sample]
    without, _ = loss_of(case, weights - alone)
    part = case.factor * mean_of(record, alone)
    slack = EXACT * max(abs(whole.item()), abs(part))
    assert whole.item() - without.item() == pytest.approx(part, rel=EXACT, abs=slack), case.name


def loss_is_linear_in_the_weights(case: Case) -> None:
    """L(a u + b v) - L(0) = a (L(u) - L(0)) + b (L(v) - L(0))."""
    u = some_weights(case)
    v = u.flip(0).square()
    zero, at_u, at_v, at_both = (
        loss_of(case, w)[0].item() for w in (torch.zeros_like(u), u, v, 0.5 * u + 2 * v)
    )
    expected = 0.5 * (at_u - zero) + 2 * (at_v - zero)
    slack = 2 * EXACT * max(map(abs, (zero, at_u, at_v, at_both)))
    assert at_both - zero == pytest.approx(expected, rel=2 * EXACT, abs=slack), case.name
    assert at_u != zero, case.name


def extra_terms_are_not_weighted(case: Case) -> None:
    """With weights of 0 what remains is RecBole's loss less the mean of the main one."""
    plain, _ = loss_of(case, None)
    zero, record = loss_of(case, torch.zeros(len(case.batch)))
    assert record.calls == 1, case.name
    expected = plain.item() - case.factor * mean_of(record)
    slack = 2 * EXACT * max(abs(plain.item()), abs(case.factor * mean_of(record)))
    assert zero.item() == pytest.approx(expected, abs=slack), case.name


def model_is_as_before(case: Case) -> None:
    """The seam leaves nothing behind: same modules, attributes, parameters and predictions."""
    loss_of(case, None)  # what the model itself sets while it computes its loss
    modules, state, before = modules_of(case), copy.deepcopy(case.model.state_dict()), scores(case)
    with buffers_kept(case.model):
        loss_of(case, some_weights(case))[0].backward()
    case.model.zero_grad(set_to_none=True)
    assert modules_of(case) == modules, case.name
    after = case.model.state_dict()
    assert list(after) == list(state), case.name
    assert all(torch.equal(after[name], state[name]) for name in state), case.name
    assert all(torch.equal(x, y) for x, y in zip(before, scores(case))), case.name


def modules_of(case: Case) -> list[tuple[str, int, list[str]]]:
    """Return the name, identity and attributes of every part of the model, in their order."""
    return [(name, id(part), list(vars(part))) for name, part in case.model.named_modules()]


def scores(case: Case) -> list[Tensor]:
    """Return the scores of the batch, for the target items and, where there are such, for all."""
    model, found = case.model.eval(), []
    for verb in (model.predict, model.full_sort_predict):
        seed()
        try:
            with torch.no_grad():
                found.append(verb(case.batch))
        except (AssertionError, KeyError, NotImplementedError):
            continue
    model.train()
    assert found, case.name
    return found


def recorded_loss_is_the_rows_own(case: Case) -> None:
    """Row i's recorded loss stays the same in another batch: no row gets another's weight."""
    case.model.eval()  # no dropout, no batch statistics: nothing else couples the rows
    try:
        _, whole = loss_of(case, some_weights(case))
        last = len(case.batch) - 1
        for row, other in ((0, 1), (last // 2, 0), (last, last // 2)):
            _, pair = loss_of(case, torch.ones(2), case.batch[[row, other]])
            assert float(pair.loss[0]) == pytest.approx(
                float(whole.loss[row]), rel=1e-4, abs=1e-5
            ), case.name
    finally:
        case.model.train()


#: For every model in every mode.
LAWS = [
    unit_weights_are_plain,
    zero_weight_removes_the_sample,
    loss_is_linear_in_the_weights,
    extra_terms_are_not_weighted,
    model_is_as_before,
]
#: For models whose rows are computed by themselves.
ROW_LAWS = [*LAWS, recorded_loss_is_the_rows_own]
