"""A model as a plain function of tensors, which can be written down as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from recbole_atjt.serving.inputs import Signature
from recbole_atjt.serving.scorers import scores_of


class Traced(nn.Module):
    """A model that takes its inputs in the order of its signature and gives its scores.

    Args:
        model: The bare model.
        signature: What it reads.
        n_items: Number of items, the padding included.
    """

    def __init__(self, model: Any, signature: Signature, n_items: int) -> None:
        super().__init__()
        self.model = model
        self._signature, self._n_items = signature, n_items

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return scores ``[B, n_items]`` of all items, or ``[B]`` of the rows' own items."""
        names = [each.name for each in self._signature.inputs]
        batch = dict(zip(names, inputs))
        return scores_of(self.model, batch, self._signature, self._n_items)


def _mask_behind(self: Any, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """Do what BERT4Rec's ``reconstruct_test_data`` does, without a loop over the batch."""
    longer = torch.cat([item_seq, torch.zeros_like(item_seq[:, :1])], dim=1)
    return longer.scatter(1, item_seq_len.unsqueeze(1), self.mask_token)[:, 1:]


def _right_aligned(self: Any, seq_item: Tensor, seq_item_len: Tensor) -> Tensor:
    """Do what HRM's ``inverse_seq_item`` does, without numpy."""
    width = seq_item.size(1)
    places = torch.arange(width).unsqueeze(0) + seq_item_len.unsqueeze(1)
    return seq_item.gather(1, places % width)


#: Methods that loop over a batch in Python, and what stands in for them in a graph.
_LOOPS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "BERT4Rec": {"reconstruct_test_data": _mask_behind},
    "HRM": {"inverse_seq_item": _right_aligned},
}


@contextmanager
def without_loops(model: Any) -> Iterator[None]:
    """Give a model methods without Python loops over the batch for the length of the block.

    Args:
        model: The bare model.
    """
    names = (base.__name__ for base in type(model).__mro__)
    found = next((_LOOPS[name] for name in names if name in _LOOPS), {})
    for name, method in found.items():
        setattr(model, name, MethodType(method, model))
    try:
        yield
    finally:
        for name in found:
            delattr(model, name)


def name_squeezed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Let each ``squeeze`` name dimensions of size 1: torch skips all others, ONNX fails on them.

    Args:
        program: A traced model; it is changed.
    """
    aten = torch.ops.aten
    for node in list(program.graph.nodes):
        if node.target not in (aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims):
            continue
        source, *named = node.args
        sizes = source.meta["val"].shape
        places = named[0] if named else range(len(sizes))
        places = [places] if isinstance(places, int) else places
        ones = [place for place in places if isinstance(sizes[place], int) and sizes[place] == 1]
        if ones:
            node.target, node.args = aten.squeeze.dims, (source, ones)
        else:
            node.replace_all_uses_with(source)
            program.graph.erase_node(node)
    return program
