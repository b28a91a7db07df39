"""What a strategy said of the epochs of a training."""

from __future__ import annotations

from dataclasses import dataclass, field

from recbole_atjt.weighting.base import Weighting


@dataclass
class EpochNotes:
    """Figures and complaints, epoch by epoch.

    Attributes:
        history: Figures of each epoch by name, ``epoch`` among them.
        complaints: One line each.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def take(self, epoch: int, weighting: Weighting) -> str | None:
        """Note what a strategy says of the epoch that just ended; return its complaint, if any."""
        self.history.append({"epoch": float(epoch), **weighting.describe()})
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
