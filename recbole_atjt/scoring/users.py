"""Whether a model reads who the user is, so that it can't judge those it has never seen."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_atjt.randomness import kept


class _Watched(Interaction):
    """A batch that notes which columns are read."""

    def __init__(self, columns: dict[str, Any], noted: set[str]) -> None:
        super().__init__(columns)
        self.noted = noted

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            self.noted.add(index)
        return super().__getitem__(index)


@torch.no_grad()
def reads_users(model: Any, batch: Interaction, user_field: str) -> bool:
    """Tell whether a model's loss reads the column of users.

    Args:
        model: The bare model.
        batch: A training batch.
        user_field: Name of the column.
    """
    noted: set[str] = set()
    training = model.training
    model.eval()
    try:
        with kept():
            model.calculate_loss(_Watched(batch.interaction, noted))
    finally:
        model.train(training)
    return user_field in noted
