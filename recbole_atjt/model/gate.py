"""The sparse gate of AEL: noisy top-k choice of experts, and the losses that balance it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Keeps quotients finite; below what single precision tells apart from the sums it is added to.
_TINY = 1e-10


class NoisyTopKGate(nn.Module):
    """Noisy top-k gating (Shazeer et al. 2017, Eq. 3 to 5), which AEL takes over.

    ``G(x) = softmax(KeepTopK(H(x), k))`` with ``H(x) = x W_g + N(0, 1) * softplus(x W_noise)``.
    Both matrices start at zero, so that noise alone chooses at first (their appendix A).

    Args:
        input_size: Width n of the vectors.
        experts: Number m of experts.
        top_k: Experts that are chosen for each row.
    """

    def __init__(self, input_size: int, experts: int, top_k: int) -> None:
        super().__init__()
        self.signal = nn.Linear(input_size, experts, bias=False)
        self.noise = nn.Linear(input_size, experts, bias=False)
        self.top_k = top_k
        for layer in (self.signal, self.noise):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts' weights and, while training, how likely each is chosen.

        Args:
            x: ``[B, n]`` the users' vectors.

        Returns:
            Weights ``[B, m]``, which are zero but for k in each row and sum to 1, and the smooth
            chances ``[B, m]`` of being chosen; outside training, without noise, these are 0 or 1.
        """
        clean: Tensor = self.signal(x)
        if not self.training:
            return keep_top_k(clean, self.top_k), self.choose(x).to(clean.dtype)
        deviation = functional.softplus(cast(Tensor, self.noise(x)))
        noisy = clean + torch.randn_like(clean) * deviation
        chances = chance_of_choice(clean, noisy, deviation, self.top_k)
        return keep_top_k(noisy, self.top_k), chances

    def choose(self, x: Tensor) -> Tensor:
        """Return which experts are chosen without noise, ``[B, m]`` of k True a row."""
        clean: Tensor = self.signal(x)
        return _among_largest(clean, self.top_k)


def _among_largest(scores: Tensor, k: int) -> Tensor:
    chosen = scores.topk(k, dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)


def keep_top_k(scores: Tensor, k: int) -> Tensor:
    """Return the softmax over the k largest of each row, ``[B, m]``, zero elsewhere (Eq. 3, 5)."""
    values, chosen = scores.topk(k, dim=1)
    return torch.zeros_like(scores).scatter(1, chosen, values.softmax(dim=1))


def chance_of_choice(clean: Tensor, noisy: Tensor, deviation: Tensor, k: int) -> Tensor:
    """Return how likely an expert is among the k largest if its own noise is drawn anew.

    ``P(x, i) = Phi((clean_i - kth_excluding(noisy, k, i)) / deviation_i)`` (Shazeer et al. 2017,
    Eq. 8 and 9).

    Args:
        clean: ``[B, m]`` scores without noise.
        noisy: ``[B, m]`` scores with noise.
        deviation: ``[B, m]`` standard deviations of the noise, above 0.
        k: Experts that are chosen.
    """
    if k >= clean.shape[1]:
        return torch.ones_like(clean)
    largest = noisy.topk(k + 1, dim=1).values
    threshold = torch.where(_among_largest(noisy, k), largest[:, k : k + 1], largest[:, k - 1 : k])
    return cast(Tensor, torch.special.ndtr((clean - threshold) / deviation.clamp(min=_TINY)))


def squared_variation(values: Tensor) -> Tensor:
    """Return the squared coefficient of variation of ``[m]`` values: variance / mean^2."""
    return values.var(unbiased=False) / (values.mean().square() + _TINY)


def importance_loss(weights: Tensor) -> Tensor:
    """Return ``CV(sum of the weights over the batch)^2`` (Shazeer et al. 2017, Eq. 6 and 7).

    Args:
        weights: ``[B, m]`` what the gate gave.
    """
    return squared_variation(weights.sum(dim=0))


def load_loss(chances: Tensor) -> Tensor:
    """Return ``CV(sum of the chances over the batch)^2`` (Shazeer et al. 2017, Eq. 10 and 11).

    Args:
        chances: ``[B, m]`` what :func:`chance_of_choice` gave.
    """
    return squared_variation(chances.sum(dim=0))
