"""Do weights tell noise, known (AutoDenoise, Fig. 2) or planted (ATJT, Table 5)?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from scipy.stats import rankdata
from torch import Tensor

#: Sequences of each group that are scored, at most.
SEQUENCES = 20_000


@torch.no_grad()
def measure_weights(weighting: Any, loader: Any, seed: int) -> dict[str, Any] | None:
    """Compare the raw weights of sequences with those of their replaced copies.

    Every sequence is scored by the recogniser of its own group, which never trained on its user.
    Each copy is corrupted as in training, with a generator of its own, so that measuring changes
    nothing.

    Args:
        weighting: The strategy after training.
        loader: The :class:`PhaseLoader` it was trained with.
        seed: Seed of the choice of sequences and of their replacements.

    Returns:
        ``original`` and ``replaced`` with ``mean`` and ``variance``, and the ``auroc`` of telling
        them apart; None for a strategy without a recogniser.
    """
    corruption = getattr(weighting, "corruption", None)
    if corruption is None:
        return None
    device = weighting.item_frequency.device
    generator = torch.Generator().manual_seed(seed)
    original, replaced = [], []
    for group, rows in enumerate(loader.rows):
        rows = rows[torch.randperm(len(rows), generator=generator)[:SEQUENCES]]
        for part in torch.split(rows, 2048):
            history, target = loader.sequences_of(part)
            copy = _corrupt_all(corruption, history, target, generator)
            original.append(weighting.recognize(group, history.to(device), target.to(device)))
            replaced.append(weighting.recognize(group, *(x.to(device) for x in copy)))
    first, second = torch.cat(original).cpu(), torch.cat(replaced).cpu()
    return {
        "original": _moments(first),
        "replaced": _moments(second),
        "auroc": auroc(first, second),
    }


def learned_weights(report: Any) -> dict[str, Any]:
    """Return the weights that the last epoch's sequences had, by what the data knows of them.

    Args:
        report: The strategy's :class:`EpochReport` of the last epoch.

    Returns:
        ``mean``, ``variance`` and ``count`` for ``true_positive`` and ``false_positive``
        sequences (AutoDenoise, 5.4.1), and ``noise_auroc``, the chance that a true one has the
        larger weight, and ``noise_bins``, the histogram of raw weights (``from``, ``to``,
        ``clean``, ``noisy``); empty where the data does not know.
    """
    named = {"true_positive": report.true_positive, "false_positive": report.false_positive}
    found: dict[str, Any] = {
        name: {"mean": values.mean, "variance": values.variance, "count": values.count}
        for name, values in named.items()
        if values.count
    }
    if len(found) == len(named):
        found["noise_auroc"] = report.truth.auroc()
        found["noise_bins"] = {
            name: [float(f"{value:.6g}") for value in values]
            for name, values in report.known().items()
        }
    return found


def _corrupt_all(
    corruption: Any, history: Tensor, target: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Corrupt every row, as training corrupts a share of them."""
    whole = replace(corruption, share=1.0)
    changed, other, _ = whole.corrupt(history, target, generator)
    return changed, other


def _moments(values: Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "variance": float(values.var(unbiased=False))}


def auroc(higher: Tensor, lower: Tensor) -> float:
    """Return the chance that a value of ``higher [n]`` exceeds one of ``lower [m]``, ties half."""
    ranks = rankdata(torch.cat((higher, lower)).numpy())
    n, m = len(higher), len(lower)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
