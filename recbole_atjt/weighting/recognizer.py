"""The noise recogniser: attention over a history, seen from its target (ATJT, 3.3.2 and 4.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from recbole_atjt.dropout import FastDropout

ATTENTIONS = ("softmax", "sum")
LAST_LAYERS = ("linear", "paper")


class DenseLayer(nn.Module):
    """One layer of the paper's MLPs: linear, PReLU, dropout (4.1.3); or linear alone."""

    def __init__(self, inputs: int, outputs: int, dropout: float, bare: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation = nn.Identity() if bare else nn.PReLU()
        self.dropout = FastDropout(0.0 if bare else dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x [..., inputs]`` to ``[..., outputs]``."""
        dropped: Tensor = self.dropout(self.activation(self.linear(x)))
        return dropped


class _HiddenScores(torch.autograd.Function):
    """``PReLU(table[items] + query) * factors @ direction``, with few passes over [B, L, h].

    The hidden layer of the attention is by far the largest tensor of a recogniser's step. The
    slope of PReLU is a single number, so its gradient is one dot product.
    """

    @staticmethod
    def forward(
        context: Any,
        table: Tensor,
        query: Tensor,
        slope: Tensor,
        direction: Tensor,
        items: Tensor,
        factors: Tensor | None,
    ) -> Tensor:
        before = F.embedding(items, table).add_(query.unsqueeze(1))
        after = F.leaky_relu(before, float(slope))
        if factors is not None:
            after.mul_(factors)
        context.save_for_backward(table, slope, direction, items, factors, before, after)
        return after @ direction

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        table, slope, direction, items, factors, before, after = context.saved_tensors
        size = after.shape[-1]
        flat = gradient.reshape(-1)
        to_direction = flat @ after.view(-1, size)
        inner = torch.outer(flat, direction).view_as(after)
        if factors is not None:
            inner.mul_(factors)
        to_slope = torch.dot(inner.view(-1), before.clamp(max=0.0).view(-1)).view_as(slope)
        inner = torch.ops.aten.leaky_relu_backward(inner, before, float(slope), False)
        to_table = torch.zeros_like(table)
        to_table.index_add_(0, items.reshape(-1), inner.view(-1, size))
        return to_table, inner.sum(dim=1), to_slope, to_direction, None, None


class AttentionPooling(nn.Module):
    """Pool a history into one vector, ``h = sum_n a_n e_n`` (ATJT, 3.3.2).

    The scores are ``MLP(e_n || e_T)``. The first layer is split into a part for the history and a
    part for the target, so that the concatenation ``[B, L, 2d]`` is never built, and the part for
    the history is computed once for each item instead of once for each position.

    Args:
        size: Embedding size d.
        hidden: Width of the hidden layer.
        dropout: Dropout rate of each layer.
        normalization: ``softmax`` over the real positions, or ``sum``, the paper's literal
            division by the sum of the scores (which can be near zero); scores that are all 0,
            as those of a short history that dropout takes whole, give a pooled vector of 0.
        bare_score: Whether the score itself goes without PReLU and dropout.
    """

    def __init__(
        self, size: int, hidden: int, dropout: float, normalization: str, bare_score: bool = False
    ) -> None:
        super().__init__()
        self.key = nn.Linear(size, hidden)
        self.query = nn.Linear(size, hidden, bias=False)
        self.activation = nn.PReLU()
        self.dropout = FastDropout(dropout)
        self.score = DenseLayer(hidden, 1, dropout, bare_score)
        self.normalization = normalization

    def forward(self, embedding: Tensor, history: Tensor, target: Tensor) -> Tensor:
        """Return the pooled history.

        Args:
            embedding: Embeddings of all items, ``[n_items, d]``.
            history: Item ids, 0 where padded, ``[B, L]``.
            target: Embeddings of the targets, ``[B, d]``.

        Returns:
            ``[B, d]``.
        """
        table, query = self.key(embedding), self.query(target)
        shape = torch.empty((), dtype=table.dtype, device=table.device)
        factors = self.dropout.draw(shape.expand(*history.shape, table.shape[1]))
        layer = self.score
        direction = layer.linear.weight.squeeze(0)
        hidden: Tensor = _HiddenScores.apply(  # type: ignore[no-untyped-call]
            table, query, self.activation.weight, direction, history, factors
        )
        scores = layer.dropout(layer.activation(hidden + layer.linear.bias))
        real = history != 0
        if self.normalization == "softmax":
            # Not -inf: a row of padding alone gets no NaN, but the padding's embedding, zero.
            attention = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(dim=-1)
        else:
            scores = scores * real
            total = scores.sum(dim=-1, keepdim=True)  # 0 for padding alone, or all scores dropped
            attention = scores / total.masked_fill(total == 0, 1.0)
        keys = F.embedding(history, embedding, padding_idx=0)
        return torch.bmm(attention.unsqueeze(1), keys).squeeze(1)


class NoiseRecognizer(nn.Module):
    """Tell original sequences (label 1) from replaced ones (label 0) (ATJT, 3.3.2, Eq. 2).

    Shapes follow 4.1.3 with the input widths derived from the embedding size d: attention
    ``2d -> hidden -> 1``, output ``2d -> 256 -> 64 -> 1``, every layer linear, PReLU, dropout.
    Dropping the logit itself teaches little, so that the last layer of both MLPs is linear alone
    unless ``last_layer`` is ``paper``.

    Args:
        n_items: Number of items, the padding item 0 included.
        embedding_size: d.
        attention_hidden: Width of the attention's hidden layer.
        output_hidden: Widths of the output MLP's hidden layers.
        dropout: Dropout rate of each layer.
        attention: ``softmax`` or ``sum`` (see :class:`AttentionPooling`).
        last_layer: ``linear``, or ``paper``: with PReLU and dropout as every other layer.

    Raises:
        ValueError: An unknown ``attention`` or ``last_layer``.
    """

    def __init__(
        self,
        n_items: int,
        embedding_size: int = 32,
        attention_hidden: int = 32,
        output_hidden: Sequence[int] = (256, 64),
        dropout: float = 0.5,
        attention: str = "softmax",
        last_layer: str = "linear",
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"attention '{attention}' is unknown: use one of {ATTENTIONS}")
        if last_layer not in LAST_LAYERS:
            raise ValueError(f"last_layer '{last_layer}' is unknown: use one of {LAST_LAYERS}")
        bare = last_layer == "linear"
        self.item_embedding = nn.Embedding(n_items, embedding_size, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight, std=embedding_size**-0.5)
        nn.init.zeros_(self.item_embedding.weight[0].detach())
        self.attention = AttentionPooling(
            embedding_size, attention_hidden, dropout, attention, bare
        )
        widths = [2 * embedding_size, *output_hidden]
        self.output = nn.Sequential(
            *(DenseLayer(a, b, dropout) for a, b in zip(widths, widths[1:])),
            DenseLayer(widths[-1], 1, dropout, bare),
        )

    def forward(self, history: Tensor, target: Tensor) -> Tensor:
        """Return the logit of "this sequence is original", in full precision also under AMP.

        Args:
            history: Item ids, 0 where padded, ``[B, L]``; of padding alone, the target decides.
            target: Item ids, ``[B]``.

        Returns:
            Logits ``[B]``; their sigmoid is the weight ``w = g(s)`` of Eq. 1.
        """
        with torch.autocast(history.device.type, enabled=False):
            query = self.item_embedding(target)
            pooled = self.attention(self.item_embedding.weight, history, query)
            logits: Tensor = self.output(torch.cat((pooled, query), dim=-1)).squeeze(-1)
        return logits

    def recognition_loss(self, history: Tensor, target: Tensor, label: Tensor) -> Tensor:
        """Return ``L^D`` of a batch (Eq. 2).

        Args:
            history: ``[B, L]`` item ids.
            target: ``[B]`` item ids.
            label: ``[B]``, 1 for an original sequence, 0 for a replaced one.

        Returns:
            Mean binary cross-entropy, a scalar.
        """
        return F.binary_cross_entropy_with_logits(self(history, target), label)
