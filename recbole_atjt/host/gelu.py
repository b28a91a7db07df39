"""RecBole's GELU, in one pass while a model trains."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class OnePassGelu:
    r"""``GELU(x) = x/2 (1 + erf(x / sqrt 2))``, which RecBole writes out in five operations.

    Forward and backward they take a quarter of a transformer's step on a CPU. While its layer
    trains, torch's own takes their place, the same but for its rounding; else RecBole's own is
    asked, so that a model predicts to the bit what it does in plain RecBole.

    Args:
        layer: A layer of RecBole whose ``intermediate_act_fn`` is its own ``gelu``.
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._composed = layer, layer.intermediate_act_fn

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``x`` of any shape."""
        mapped: Tensor = functional.gelu(x) if self._layer.training else self._composed(x)
        return mapped


def speed_up_gelu(model: nn.Module) -> int:
    """Let a model's layers of RecBole train with GELU in one pass.

    Args:
        model: A RecBole model; changed in place.

    Returns:
        How many layers were changed.
    """
    found = [
        layer
        for layer in model.modules()
        if type(layer).__module__.startswith("recbole.")
        and getattr(layer, "gelu", None) is not None
        and getattr(layer, "intermediate_act_fn", None) == layer.gelu
    ]
    for layer in found:
        vars(layer)["intermediate_act_fn"] = OnePassGelu(layer)
    return len(found)
