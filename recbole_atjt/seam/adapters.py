"""Models whose per-sample loss needs more than a swapped criterion."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.errors import UsageError
from recbole_atjt.seam.reduction import Reducer, weighted_mean
from recbole_atjt.seam.substitution import substituted


class Adapter(Protocol):
    """Reaches the main loss of a model that a swapped criterion does not reach."""

    def applies(self, model: Any) -> bool:
        """Whether ``model``, as configured, needs this adapter; else its criterion is swapped."""

    def swapping(self, model: Any, reduce: Reducer) -> AbstractContextManager[None]:
        """Let ``model.calculate_loss`` hand its per-sample losses ``[rows]`` to ``reduce``."""


_ADAPTERS: dict[str, Adapter] = {}


def register_adapter(name: str, adapter: Adapter) -> None:
    """Use ``adapter`` for the model class called ``name`` and for subclasses that keep its loss."""
    _ADAPTERS[name] = adapter


def find_adapter(model: nn.Module) -> Adapter | None:
    """Return the adapter that ``model`` needs, or None.

    Names are looked up along the class's bases, down to the one that defines ``calculate_loss``:
    an adapter knows one loss, so it does not fit a subclass that brings its own.
    """
    for base in type(model).__mro__:
        adapter = _ADAPTERS.get(base.__name__)
        if adapter is not None:
            return adapter if adapter.applies(model) else None
        if "calculate_loss" in vars(base):
            return None
    return None


class MaskedPositions:
    r"""BERT4Rec: the mean over masked positions, built inside ``calculate_loss``.

    A sequence's loss is the mean over its :math:`n_i` masked positions, its share
    :math:`n_i B / \sum_j n_j`, so that each position carries its sequence's weight and unit weights
    give RecBole's mean over positions. As in RecBole, index 0 is padding. Only real masked
    positions meet the item table; RecBole multiplies the padded ones too. So gradients of unit
    weights are RecBole's up to their rounding only.
    """

    def applies(self, model: Any) -> bool:
        """Whether ``model`` needs it: always."""
        return True

    def swapping(self, model: Any, reduce: Reducer) -> AbstractContextManager[None]:
        """Replace ``calculate_loss``."""

        def calculate_loss(interaction: Any) -> Tensor:
            index = interaction[model.MASK_INDEX]  # [B, M]
            row, slot = torch.nonzero(index > 0, as_tuple=True)  # [n]
            output = model.forward(interaction[model.MASK_ITEM_SEQ])  # [B, L, H]
            hidden = output[row, index[row, slot]]  # [n, H]
            positive = interaction[model.POS_ITEMS][row, slot]
            negative = interaction[model.NEG_ITEMS][row, slot]
            elements = self._losses(model, hidden, positive, negative).float()  # [n]
            count = elements.new_zeros(reduce.rows).index_add(0, row, torch.ones_like(elements))
            total = elements.new_zeros(reduce.rows).index_add(0, row, elements)
            share = count * (reduce.rows / count.sum().clamp(min=1))
            return reduce(total / count.clamp(min=1), share)

        return substituted(model, "calculate_loss", calculate_loss)

    def _losses(self, model: Any, hidden: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        if model.loss_type == "CE":
            items = model.item_embedding.weight[: model.n_items]
            logits = hidden @ items.transpose(0, 1) + model.output_bias
            losses: Tensor = functional.cross_entropy(logits, positive, reduction="none")
            return losses

        apart = model.item_embedding(positive) - model.item_embedding(negative)
        bias = model.output_bias[positive] - model.output_bias[negative]
        difference: Tensor = ((hidden * apart).sum(-1) + bias).float()
        return -torch.log(1e-14 + torch.sigmoid(difference))


class SummedElements:
    r"""S3Rec's pretraining: four weighted sums over positions, attributes and segments.

    The loss is linear in the elements of ``loss_fct``, so a sequence's part of it is its
    derivative with respect to a factor of 1 on all elements of that sequence:
    :math:`l_i = \partial L / \partial u_i`, masks and task weights included, and
    :math:`L = \sum_i w_i l_i`. The derivative is taken only as far as the factors, not into the
    model.
    """

    def applies(self, model: Any) -> bool:
        """Whether ``model`` is in its pretraining stage; finetuning has an ordinary criterion."""
        return bool(model.train_stage == "pretrain")

    def swapping(self, model: Any, reduce: Reducer) -> AbstractContextManager[None]:
        """Split what ``calculate_loss`` returns."""
        plain = model.calculate_loss

        def calculate_loss(interaction: Any) -> Tensor:
            with torch.enable_grad():  # the self-test runs without gradients
                factor = torch.ones(reduce.rows, device=model.device, requires_grad=True)
                spread = _Spread(model.loss_fct, factor, model.max_seq_length)
                with substituted(model, "loss_fct", spread):
                    total = plain(interaction)
                (loss,) = torch.autograd.grad(total, factor, create_graph=True)
            return reduce(loss, torch.full_like(factor, reduce.rows), lambda: total)

        return substituted(model, "calculate_loss", calculate_loss)


class _Spread(nn.Module):
    """Multiplies each element of a criterion by the factor of its sequence."""

    def __init__(self, criterion: nn.Module, factor: Tensor, length: int) -> None:
        super().__init__()
        self.criterion, self.factor, self.length = criterion, factor, length

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        elements: Tensor = self.criterion(scores, target)
        rows, positions = self.factor.numel(), self.factor.numel() * self.length
        if elements.size(0) not in (rows, positions):
            raise UsageError(
                f"a pretraining loss has {elements.size(0)} rows, neither {rows} sequences nor "
                f"{positions} positions: it can't be weighted by sequence"
            )
        factor = self.factor
        if elements.size(0) == positions:
            factor = factor.repeat_interleave(self.length)
        return elements * factor.view(-1, *[1] * (elements.dim() - 1))


class Reconstruction:
    r"""MultiDAE, MultiVAE, MacridVAE: the multinomial likelihood of a user's row of ratings.

    :math:`l_i = -\sum_j r_{ij} \log softmax(z_i)_j` (Eq. 2 of Mult-VAE) is taken from what
    ``forward`` was given and returned; KL divergence and regularisers stay as they are.
    """

    def applies(self, model: Any) -> bool:
        """Whether ``model`` needs it: always."""
        return True

    def swapping(self, model: Any, reduce: Reducer) -> AbstractContextManager[None]:
        """Exchange the likelihood in what ``calculate_loss`` returns."""
        plain, forward = model.calculate_loss, model.forward

        def calculate_loss(interaction: Any) -> Tensor:
            seen: list[tuple[Tensor, Tensor]] = []

            def watched(ratings: Tensor) -> Any:
                output = forward(ratings)
                seen.append((ratings, output[0] if isinstance(output, tuple) else output))
                return output

            with substituted(model, "forward", watched):
                total: Tensor = plain(interaction)
            ratings, logits = seen[-1]
            loss = -(functional.log_softmax(logits, 1) * ratings).sum(1)
            plain_mean = weighted_mean(loss, torch.ones_like(loss))
            weighted = reduce(loss, own=lambda: plain_mean)
            return total if weighted is plain_mean else total + (weighted - plain_mean)

        return substituted(model, "calculate_loss", calculate_loss)


register_adapter("BERT4Rec", MaskedPositions())
register_adapter("S3Rec", SummedElements())
for _name in ("MultiDAE", "MultiVAE", "MacridVAE"):
    register_adapter(_name, Reconstruction())
