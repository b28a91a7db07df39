"""ORACLE: what knowing the noise would be worth."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Evidence, Weighting


class Oracle(Weighting):
    """Oracle: sequences whose target is known to be noise weigh 0, all others 1.

    The truth is that of the data: planted noise, a column ``is_noise``, or ``clean_eval``. It is no
    method but the yardstick of the others: what it gains over plain training is the headroom.

    Raises:
        UsageError: The data does not know its noise.
    """

    def weigh(self, evidence: Evidence) -> Tensor:
        """Return 0 for known noise and 1 for the rest, ``[S]``."""
        if evidence.true is None:
            raise UsageError(
                "weighting=oracle needs noise that is known: plant some (plant=clickbait:0.3), or "
                "use data with a column is_noise, or clean_eval"
            )
        return evidence.true.to(torch.float32)
