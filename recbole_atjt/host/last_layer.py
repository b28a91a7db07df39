"""RecBole's transformers without what their last layer computes for positions that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.model.layers import TransformerEncoder, TransformerLayer
from torch import Tensor, nn

#: What may be asked of an output without computing it.
_OUTSIDE = {getattr(Tensor, name).__get__ for name in ("shape", "ndim", "device")}
_OUTSIDE |= {Tensor.size, Tensor.dim}


class AwaitedOutput(torch.Tensor):
    """The output of a transformer's last layer, ``[B, L, H]``, computed where it is asked for.

    A model that gathers some positions of each row has these computed alone; whatever else is done
    with it sees the whole output.
    """

    _layer: TransformerLayer
    _hidden: Tensor
    _mask: Tensor
    _factors: tuple[Tensor | None, ...]
    _whole: Tensor | None

    @staticmethod
    def of(layer: TransformerLayer, hidden: Tensor, mask: Tensor) -> AwaitedOutput:
        """Promise a layer's output, and draw its dropout of all positions, as RecBole does.

        Args:
            layer: The layer.
            hidden: Its input, ``[B, L, H]``.
            mask: What is added to its attention scores, ``[B, 1, 1 or L, L]``.
        """
        attention, (rows, length, _) = layer.multi_head_attention, hidden.shape
        output = hidden.detach().as_subclass(AwaitedOutput)
        output._layer, output._hidden, output._mask, output._whole = layer, hidden, mask, None
        with torch._C.DisableTorchFunctionSubclass():
            output._factors = (
                _factors(
                    attention.attn_dropout,
                    (rows, attention.num_attention_heads, length, length),
                    hidden,
                ),
                _factors(attention.out_dropout, hidden.shape, hidden),
                _factors(layer.feed_forward.dropout, hidden.shape, hidden),
            )
        return output

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Gather positions; compute the whole output for anything else."""
        given = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in _OUTSIDE:
                return func(*args, **given)
            if func in (Tensor.gather, torch.gather) and isinstance(args[0], cls):
                found = args[0]._gathered(*args[1:], **given)
                if found is not None:
                    return found
            return func(*_computed(args), **{key: _computed(each) for key, each in given.items()})

    def _gathered(self, dim: int, index: Tensor, **_: Any) -> Tensor | None:
        """Return what a gather of whole positions gives; None where it asks for something else."""
        rows, length, width = self._hidden.shape
        positions = dim in (1, -2) and index.dim() == 3 and index.stride(2) == 0
        if self._whole is not None or not positions or index.shape[::2] != (rows, width):
            return None
        return self._at(index[:, :, 0]) if index.shape[1] < length else None

    def _at(self, place: Tensor | None) -> Tensor:
        """Return the output at some positions of each row, ``[B, P, H]``.

        Args:
            place: Positions, ``[B, P]``; None for all, in order.
        """
        attention, forward = self._layer.multi_head_attention, self._layer.feed_forward
        hidden, (rows, length, width) = self._hidden, self._hidden.shape
        heads = attention.num_attention_heads
        drop_probability, drop_context, drop_forward = self._factors

        def split(projected: Tensor) -> Tensor:
            return projected.view(rows, -1, heads, width // heads).transpose(1, 2)

        def chosen(whole: Tensor) -> Tensor:
            if place is None:
                return whole
            return whole.gather(1, place.unsqueeze(2).expand(-1, -1, whole.shape[2]))

        def chosen_queries(whole: Tensor) -> Tensor:
            if place is None or whole.shape[2] != length:
                return whole
            return whole.gather(2, place[:, None, :, None].expand(-1, whole.shape[1], -1, length))

        own = chosen(hidden)
        scores = split(attention.query(own)) @ split(attention.key(hidden)).transpose(2, 3)
        scores = scores / attention.sqrt_attention_head_size + chosen_queries(self._mask)
        probability = _dropped(attention.softmax(scores), drop_probability, chosen_queries)
        context = probability @ split(attention.value(hidden))
        context = attention.dense(context.transpose(1, 2).reshape(rows, -1, width))
        attended = attention.LayerNorm(_dropped(context, drop_context, chosen) + own)
        inner = forward.dense_2(forward.intermediate_act_fn(forward.dense_1(attended)))
        output: Tensor = forward.LayerNorm(_dropped(inner, drop_forward, chosen) + attended)
        return output

    def _value(self) -> Tensor:
        """Return the whole output, ``[B, L, H]``."""
        if self._whole is None:
            self._whole = self._at(None)
        return self._whole


def _computed(given: Any) -> Any:
    """Put whole outputs in the place of awaited ones, in arguments of any depth."""
    if isinstance(given, AwaitedOutput):
        return given._value()
    if isinstance(given, (list, tuple)):
        return type(given)(_computed(each) for each in given)
    return given


def _factors(dropout: nn.Module, shape: Any, like: Tensor) -> Tensor | None:
    """Return what a dropout multiplies a tensor of some shape by; None for nothing."""
    if not dropout.training or getattr(dropout, "p", getattr(dropout, "rate", None)) == 0.0:
        return None
    factors: Tensor = dropout(torch.ones(shape, dtype=like.dtype, device=like.device))
    return factors


def _dropped(x: Tensor, factors: Tensor | None, chosen: Callable[[Tensor], Tensor]) -> Tensor:
    return x if factors is None else x * chosen(factors)


class LastLayer:
    """A transformer's last layer, which promises its output while it trains.

    Args:
        layer: The last layer of an encoder of RecBole.
    """

    def __init__(self, layer: TransformerLayer) -> None:
        self._layer = layer

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the layer's output, ``[B, L, H]``."""
        layer = self._layer
        if layer.training and attention_mask.dim() == 4:
            return AwaitedOutput.of(layer, hidden_states, attention_mask)
        output: Tensor = type(layer).forward(layer, hidden_states, attention_mask)
        return output


def speed_up_last_layer(model: nn.Module) -> int:
    """Let a model's encoders of RecBole compute of their last layer what is read, while it trains.

    SASRec and its kin read one position of each row. Values, gradients and random numbers are those
    of RecBole, the same but for rounding.

    Args:
        model: A RecBole model; changed in place.

    Returns:
        How many encoders were changed.
    """
    encoders: list[Any] = [each for each in model.modules() if type(each) is TransformerEncoder]
    found = [each.layer[-1] for each in encoders if type(each.layer[-1]) is TransformerLayer]
    for layer in found:
        vars(layer)["forward"] = LastLayer(layer)
    return len(found)
