"""ATJT's Eq. 1: any sequential model trained on clicked and sampled items with BCE."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import InputType, ModelType
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import with_values
from recbole_atjt.host.traits import gives_probabilities, traits_of


def pointwise(model_class: Any) -> Any:
    r"""Return ``model_class`` trained with ``loss_type: BCE``.

    .. math:: L = \frac{1}{|b|} \sum_i BCE(f(s_i, t_i), y_i)

    where :math:`f` is the model's own ``predict`` and :math:`y_i` is 1 for the item that followed
    the history :math:`s_i`, 0 for a sampled one. The class keeps its name, parameters and
    predictions. A class whose ``predict`` gives probabilities says so with
    ``predicts_probabilities = True``. S3Rec's pretraining keeps its own loss.

    Args:
        model_class: A sequential model; one that trains with BCE already is returned as it is.

    Raises:
        UsageError: The model does not score single items.
    """
    traits = traits_of(model_class)
    if model_class.type != ModelType.SEQUENTIAL or traits.trains_on_labels:
        return model_class
    if not traits.scores_single_items:
        raise UsageError(
            f"model={model_class.__name__} can't train with loss_type=BCE, since it does not score "
            "single items: use loss_type=CE"
        )
    probabilities = gives_probabilities(model_class)

    class Pointwise(model_class):
        input_type = InputType.POINTWISE

        def __init__(self, config: Any, dataset: Any) -> None:
            _build(super().__init__, config, dataset)
            if getattr(self, "train_stage", None) == "pretrain":
                return
            self.main_criterion = "loss"
            self.loss = nn.BCELoss() if probabilities else nn.BCEWithLogitsLoss()
            self.LABEL_FIELD = config["LABEL_FIELD"]

        def calculate_loss(self, interaction: Any) -> Any:
            if getattr(self, "main_criterion", None) is None:
                return super().calculate_loss(interaction)
            score: Tensor = self.predict(interaction)
            if probabilities:
                score = score.clamp(0, 1)  # a sum of probabilities may round above 1
            return self.loss(score, interaction[self.LABEL_FIELD].to(score.dtype))

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Pointwise, name, getattr(model_class, name))
    return Pointwise


def _build(init: Any, config: Any, dataset: Any) -> None:
    """Construct with a loss that the model offers; its parameters do not depend on which."""
    state = torch.get_rng_state()
    try:
        init(with_values(config, loss_type="CE"), dataset)
    except (NotImplementedError, AssertionError):
        torch.set_rng_state(state)
        init(with_values(config, loss_type="BPR"), dataset)
