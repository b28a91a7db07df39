"""A transformer's last layer, computed where it is read: RecBole's values, gradients and draws."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recbole.model.layers import TransformerEncoder
from torch import Tensor

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.host.last_layer import LastLayer, speed_up_last_layer
from recbole_atjt.training import recommender

_ROWS, _LENGTH, _WIDTH = 6, 9, 8
_SMALL = {"train_neg_sample_args": None, "user_inter_num_interval": "[20,40]"}


def _encoders(dropout: float = 0.4) -> tuple[TransformerEncoder, TransformerEncoder]:
    torch.manual_seed(3)
    plain = TransformerEncoder(2, 2, _WIDTH, 16, dropout, dropout, "gelu", 1e-12)
    fast = copy.deepcopy(plain)
    assert speed_up_last_layer(fast) == 1
    return plain, fast


def _inputs(causal: bool) -> tuple[Tensor, Tensor]:
    allowed = torch.ones(_LENGTH, _LENGTH, dtype=torch.bool)
    mask = torch.where(allowed.tril() if causal else allowed[:1], 0.0, -10000.0)
    return torch.randn(_ROWS, _LENGTH, _WIDTH), mask.expand(_ROWS, 1, -1, -1)


def _run(encoder: TransformerEncoder, x: Tensor, mask: Tensor, read: Any) -> tuple[Any, ...]:
    """Return what is read of the output, all gradients, and the random state after it."""
    torch.manual_seed(4)
    x = x.clone().requires_grad_()
    output = read(encoder(x, mask, output_all_encoded_layers=True)[-1])
    generator = torch.Generator().manual_seed(5)
    (output * torch.randn(output.shape, generator=generator)).sum().backward()
    gradients = [x.grad, *(each.grad for each in encoder.parameters())]
    return output.detach(), gradients, torch.get_rng_state()


def _place(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    place = torch.randint(_LENGTH, (_ROWS, count, 1), generator=generator)
    return place.expand(-1, -1, _WIDTH)


_READINGS = {
    "one position": lambda output: output.gather(dim=1, index=_place(1)).squeeze(1),
    "three positions": lambda output: torch.gather(output, 1, _place(3)),
    "all of it": lambda output: output * 2,
    "a part of it": lambda output: output[:, 2:4],
    "one position and all of it": lambda output: output.gather(1, _place(1)) + output,
    "other numbers of each": lambda output: output.gather(1, _place(1).flip(0).contiguous() % 2),
}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("reading", _READINGS)
def test_values_gradients_and_draws_are_those_of_recbole(reading: str, causal: bool) -> None:
    (plain, fast), (x, mask), read = _encoders(), _inputs(causal), _READINGS[reading]
    expected, gradients, state = _run(plain, x, mask, read)
    found, others, state_after = _run(fast, x, mask, read)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(state, state_after)
    for one, other in zip(gradients, others):
        assert torch.allclose(one, other, atol=1e-5)


def test_positions_that_nobody_reads_are_not_computed() -> None:
    _, fast = _encoders()
    seen = []
    fast.layer[-1].feed_forward.dense_1.register_forward_hook(
        lambda layer, given, output: seen.append(output.shape)
    )
    x, mask = _inputs(causal=True)
    _run(fast, x, mask, _READINGS["one position"])
    assert seen == [(_ROWS, 1, 16)]


def test_where_it_does_not_train_it_is_recbole_to_the_bit() -> None:
    plain, fast = _encoders()
    x, mask = _inputs(causal=True)
    expected = plain.eval()(x, mask)[-1]
    found = fast.eval()(x, mask)[-1]
    assert type(found) is Tensor
    assert torch.equal(found, expected)


def test_a_copy_of_a_model_is_of_its_own() -> None:
    _, fast = _encoders()
    again = copy.deepcopy(fast)
    assert vars(again.layer[-1])["forward"]._layer is again.layer[-1]


@pytest.mark.parametrize("model", ["SASRec", "SASRecF", "FDSA", "GCSAN", "BERT4Rec", "CORE"])
def test_models_learn_as_with_recboles_own(
    model: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {**_SMALL, "weighting": "channel", "train_batch_size": 128}
    if model in ("SASRecF", "FDSA"):
        settings["selected_features"] = ["class"]
        columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
        settings["load_col"] = columns
    found = []
    for change in (speed_up_last_layer, lambda model: 0):
        monkeypatch.setattr(recommender, "speed_up_last_layer", change)
        ready = assemble(DenoisingConfig(model, "ml-100k", None, settings), tmp_path)
        batch = next(iter(ready.train_data))
        torch.manual_seed(7)
        loss = ready.model.train().calculate_loss(batch)
        loss.backward()
        found.append((loss.item(), [each.grad for each in ready.model.parameters()]))
    (loss, gradients), (expected, others) = found
    assert loss == pytest.approx(expected, rel=1e-6)
    for one, other in zip(gradients, others):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("weighting", "fast"), [("none", 0), ("channel", 1)])
def test_plain_training_keeps_recboles_own(weighting: str, fast: int, tmp_path: Any) -> None:
    config = DenoisingConfig("SASRec", "ml-100k", None, {**_SMALL, "weighting": weighting})
    model = assemble(config, tmp_path).model
    bare = getattr(model, "recommender", model)
    found = [vars(layer).get("forward") for layer in bare.modules()]
    assert sum(isinstance(each, LastLayer) for each in found) == fast
