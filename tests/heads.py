"""One model for each kind of loss, with its per-sample losses by their definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional

from recbole_atjt import DenoisingTrainer
from tests.runs import assemble

#: Two passes over the same batch give the same logits.
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
TWO_NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}


def _softmax(model: Any, batch: Any) -> Tensor:
    output = model.forward(batch["item_id_list"], batch["item_length"])
    logits = output @ model.item_embedding.weight.T
    return functional.cross_entropy(logits, batch["item_id"], reduction="none")


def _pairwise(model: Any, batch: Any) -> Tensor:
    output = model.forward(batch["item_id_list"], batch["item_length"])
    clicked, sampled = (model.item_embedding(batch[key]) for key in ("item_id", "neg_item_id"))
    return -functional.logsigmoid((output * (clicked - sampled)).sum(dim=1))


def _pointwise(model: Any, batch: Any) -> Tensor:
    return functional.binary_cross_entropy_with_logits(
        model.forward(batch), batch["label"], reduction="none"
    )


@dataclass(frozen=True)
class Head:
    """A model and how to tell its losses.

    Args:
        model: Name of the model.
        losses: Losses ``[B]`` of a model and a batch, with their graph.
        settings: Config keys.
        blocks: Rows of a batch for each of its sequences.
    """

    model: str
    losses: Callable[[Any, Any], Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    blocks: int = 1

    def assemble(self, weighting: str, **changes: Any) -> tuple[DenoisingTrainer, Any]:
        """Return a trainer of the weighted model and its loader of phases."""
        keys = {**NO_DROPOUT, **self.settings, **changes}
        config, (train_data, _, _), wrapped = assemble(self.model, weighting=weighting, **keys)
        trainer = DenoisingTrainer(config, wrapped.train())
        return trainer, trainer.loader_of(train_data)


HEADS = {
    "CE": Head("SASRec", _softmax),
    "BPR": Head("GRU4Rec", _pairwise, {"loss_type": "BPR", **TWO_NEGATIVES}, 2),
    "BCE": Head("WideDeep", _pointwise, TWO_NEGATIVES, 3),
}


def gradients_of(loss: Tensor, model: Any) -> dict[str, Tensor]:
    """Return the gradient of every parameter that the loss reaches."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }
