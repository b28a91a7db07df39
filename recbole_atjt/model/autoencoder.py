"""The sub-autoencoder of AEL: a collaborative denoising autoencoder."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class SubAutoencoder(nn.Module):
    """Encodes vectors into fewer dimensions, with the user beside, and decodes them.

    ``h = sigmoid(W x + b + v_u)`` and ``y = sigmoid(W' h + b')`` (AEL's sub-AE, which is CDAE, Wu
    et al. 2016, Eq. 1 and 2); what it decodes is as its input inside (0, 1).

    Args:
        n_users: Number of users, padding included.
        input_size: Width n of the vectors.
        hidden_size: Width h of the code.
    """

    def __init__(self, n_users: int, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.user = nn.Embedding(n_users, hidden_size)
        self.encoder = nn.Linear(input_size, hidden_size)
        self.decoder = nn.Linear(hidden_size, input_size)

    def encode(self, x: Tensor, user: Tensor) -> Tensor:
        """Return the codes ``[B, h]`` of vectors ``[B, n]`` of users ``[B]``."""
        return torch.sigmoid(cast(Tensor, self.encoder(x) + self.user(user)))

    def decode(self, code: Tensor) -> Tensor:
        """Return the vectors ``[B, n]`` of codes ``[B, h]``."""
        return torch.sigmoid(cast(Tensor, self.decoder(code)))
