"""One step, two optimisers: RecBole's own for the recommender, Adagrad for the recognisers."""

from __future__ import annotations

from typing import Any

import torch


class JointOptimizer:
    """Steps both optimisers as one, where RecBole's loop expects a single one (ATJT, 3.4).

    Args:
        recommender: RecBole's optimiser of the recommender.
        weighting: The strategy's own optimiser.
    """

    def __init__(
        self, recommender: torch.optim.Optimizer, weighting: torch.optim.Optimizer
    ) -> None:
        self.recommender = recommender
        self.weighting = weighting

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Both optimisers' groups, for gradient scalers and schedulers."""
        return self.recommender.param_groups + self.weighting.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear both networks' gradients."""
        self.recommender.zero_grad(set_to_none)
        self.weighting.zero_grad(set_to_none)

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Update both networks."""
        self.recommender.step(*args, **kwargs)
        self.weighting.step(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return both states by name."""
        return {
            "recommender": self.recommender.state_dict(),
            "weighting": self.weighting.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` gave."""
        self.recommender.load_state_dict(state["recommender"])
        self.weighting.load_state_dict(state["weighting"])
