"""Which items resemble each other, since they stand beside the same ones in users' clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Tensor

from recbole_atjt.weighting.co_occurrence import FAR, Counts, Scale, WeighedClicks, blocks

#: Parts of all users, each told by the clicks of the others.
_PARTS = 8
#: Numbers that an item is described by, and how many items each of them stands for, at least: with
#: a number for each item, all would resemble only those with which they were found together.
_RANK, _ITEMS_EACH = 24, 10
#: Clicks at most that items are described by: of larger data every so many users.
_COUNTED = 2**18
#: Of so few items all eigenvectors are found at once.
_DENSE = 100
#: Added to the length of items' vectors, as a part of the median: of rare items little is known.
_LEAST = 0.01
#: Eigenvectors need not be exact.
_TOLERANCE = 1e-3
_SEED = 20265


@dataclass(frozen=True)
class Resemblance:
    r"""How much items resemble those beside which they stand.

    Two items that no user has clicked on both of may still stand beside the same third ones. Of the
    matrix of the positive lifts of pairs of items (positive PMI, smoothed), the eigenvectors
    :math:`u_k` of the largest eigenvalues :math:`\lambda_k` describe each item by the vector of all
    :math:`\sqrt{\lambda_k} \, u_{yk}`, as Levy and Goldberg (NeurIPS 2014) describe words. Two
    items resemble each other by the cosine of theirs.

    No user's clicks describe the items by which they are read: users are in parts, and for each the
    clicks of all others are counted.

    Args:
        vectors: Those of items, of length 1 or a little less, for users of each part,
            ``[parts, n_items, k]``.
        scale: Which clicks are neighbours.
    """

    vectors: Tensor
    scale: Scale

    @property
    def n_items(self) -> int:
        """Number of items, the padding included."""
        return self.vectors.shape[1]

    @classmethod
    def of(cls, clicks: WeighedClicks, n_items: int, scale: Scale = FAR) -> Resemblance:
        """Describe the items."""
        step = max(1, -(-len(clicks.user) // _COUNTED))
        counted, part = clicks.user // _PARTS % step == 0, _part(clicks.user)
        sums = [
            _together(Counts.of(clicks.within(counted & (part == each)), n_items, scale))
            for each in range(_PARTS)
        ]
        total = sum(sums[1:], sums[0])
        return cls(torch.stack([_described(total - each) for each in sums]), scale)

    def lifts(self, clicks: WeighedClicks, source: Tensor | None, own: bool) -> Tensor:
        """Return the mean cosine of items and their neighbours, NaN without any, ``[T]``.

        An item does not resemble itself.

        Args:
            clicks: Neighbours are theirs.
            source: Where the items are from, see :func:`shuffled`, ``[T]``; None for the clicks'
                own.
            own: Whether these clicks were counted; users are told by others' clicks in any case.
        """
        found = [torch.zeros(0, dtype=torch.float64)]
        for block in blocks(clicks.user) if source is None else [slice(len(clicks.user))]:
            item = clicks.item[block]
            found.append(self._mean(clicks.within(block), item if source is None else item[source]))
        return torch.cat(found)

    def _mean(self, clicks: WeighedClicks, item: Tensor) -> Tensor:
        """Return the mean cosine of items ``[B]`` in the places of clicks, and their neighbours."""
        part, weight = _part(clicks.user), clicks.weight.float()
        vectors = self.vectors[part, clicks.item] * weight.unsqueeze(1)
        beside, among, same = torch.zeros_like(vectors), *torch.zeros(2, len(item))
        for distance in range(1, min(self.scale.reach, len(item) - 1) + 1):
            first, second = slice(None, -distance), slice(distance, None)
            near = (clicks.user[first] == clicks.user[second]) * self.scale.say(distance)
            for one, other in ((first, second), (second, first)):
                says = near * weight[other]
                beside[one] += near.unsqueeze(1) * vectors[other]
                among[one] += says
                same[one] += says * (item[one] == clicks.item[other])
        mine = self.vectors[part, item]
        total = (mine * beside).sum(1) - same * mine.square().sum(1)
        mean: Tensor = total / torch.where(among > 0, among, torch.nan)
        return mean.double()


def shuffled(user: Tensor, generator: torch.Generator) -> Tensor:
    """Draw another click for each, as its place, each once, ``[B]``.

    It is of a user of the same part, so that neither has described the items.

    Args:
        user: Of each click, ``[B]``.
        generator: Draws.
    """
    part = _part(user)
    chance = torch.rand(len(user), dtype=torch.float64, generator=generator)
    source = torch.empty_like(user)
    source[part.argsort(stable=True)] = (part + chance).argsort()
    return source


def _part(user: Tensor) -> Tensor:
    return user % _PARTS


def _together(counts: Counts) -> csr_matrix:
    """Return how near pairs of items stand to each other, ``[n_items, n_items]``."""
    n_items = counts.n_items
    place = (counts.keys // n_items).numpy(), (counts.keys % n_items).numpy()
    half = coo_matrix((counts.together.numpy(), place), (n_items, n_items)).tocsr()
    return half + half.T


def _described(together: csr_matrix) -> Tensor:
    """Return the items' vectors, ``[n_items, k]`` float32."""
    pairs = together.tocoo()
    found, alone = pairs.data.clip(0), np.asarray(together.sum(1)).ravel()
    expected = alone[pairs.row] * alone[pairs.col] / max(alone.sum(), 1e-9)
    lift = np.log((found + 1) / (expected + 1)).clip(0)
    matrix = coo_matrix((lift, (pairs.row, pairs.col)), pairs.shape).tocsr()
    matrix.eliminate_zeros()
    described = np.zeros((matrix.shape[0], max(1, min(_RANK, matrix.shape[0] // _ITEMS_EACH))))
    if matrix.nnz:
        value, vector = _largest(matrix, described.shape[1])
        described[:, : len(value)] = vector * np.sqrt(value.clip(0))
    length = np.linalg.norm(described, axis=1, keepdims=True)
    least = _LEAST * np.median(length[length > 0]) if length.any() else 1.0
    return torch.from_numpy((described / (length + least)).astype(np.float32))


def _largest(matrix: csr_matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues of a symmetric matrix and their vectors, the largest, at most ``rank``."""
    if matrix.shape[0] <= _DENSE:
        value, vector = np.linalg.eigh(matrix.toarray())
        return value[-rank:], vector[:, -rank:]
    start = np.random.default_rng(_SEED).random(matrix.shape[0])
    try:
        value, vector = eigsh(matrix, rank, which="LA", v0=start, tol=_TOLERANCE)
    except ArpackNoConvergence as error:
        value, vector = error.eigenvalues, error.eigenvectors
    return value, vector
