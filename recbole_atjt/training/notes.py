"""What was said of the epochs of a training: by a strategy, by loss and by validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recbole_atjt.weighting.base import Weighting


@dataclass
class Progress:
    """Loss and validation score, epoch by epoch.

    Attributes:
        losses: Mean over batches of the recommender's weighted loss, by epoch.
        scores: Value of ``valid_metric``, by epoch that was validated.
    """

    losses: dict[int, float] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)

    def take(self, epoch: int, losses: float | tuple[float, ...], batches: int) -> None:
        """Note an epoch's sum over batches of the loss; of several parts, the first is its own."""
        total = losses[0] if isinstance(losses, tuple) else losses
        self.losses[epoch] = float(total) / max(1, batches)

    def listed(self) -> list[dict[str, float]]:
        """Return one entry an epoch: ``epoch``, ``loss`` and, if it was validated, ``valid``."""
        return [
            {"epoch": epoch, "loss": loss}
            | ({"valid": self.scores[epoch]} if epoch in self.scores else {})
            for epoch, loss in self.losses.items()
        ]


@dataclass
class EpochNotes:
    """Figures and complaints, epoch by epoch.

    Attributes:
        history: Figures of each epoch by name, ``epoch`` among them.
        complaints: One line each.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def take(self, epoch: int, weighting: Weighting, more: Mapping[str, float]) -> str | None:
        """Note what a strategy says of the epoch that just ended, and more figures of it.

        Returns:
            The strategy's complaint, if any.
        """
        self.history.append({"epoch": float(epoch), **weighting.describe(), **more})
        complaint = weighting.complaint()
        if complaint is None:
            return None
        self.complaints.append(f"epoch {epoch}: {complaint}")
        return self.complaints[-1]

    def figures_of(self, epoch: int) -> dict[str, float]:
        """Return the figures of an epoch; none unless it is the last one."""
        last = self.history[-1] if self.history else {}
        if last.get("epoch") != epoch:
            return {}
        return {name: value for name, value in last.items() if name != "epoch"}
