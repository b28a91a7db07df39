"""A process's share of a batch: which rows are its own, and the whole batch's values again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from recbole_atjt.parallel.group import gathered, rank, size, summed

#: Sequences that a process has at least; several models can't train on one.
_LEAST = 2


@dataclass(frozen=True)
class Share:
    """What one process computes of a batch of S sequences in B rows.

    A sequence and its sampled negatives are rows ``j, j + S, j + 2S, ...``, and stay together.
    Every process has as many sequences as any other, or one more; in a batch too small for all,
    the last processes repeat its first sequences, which count nothing there.

    Args:
        sequences: S.
        rows: B, a multiple of S.
        number: The process.
        processes: How many there are.
    """

    sequences: int
    rows: int
    number: int
    processes: int

    @classmethod
    def of(cls, sequences: int, rows: int) -> Share:
        """Return this process's share of a batch."""
        return cls(sequences, rows, rank(), size())

    @property
    def times(self) -> int:
        """Rows of a sequence."""
        return self.rows // self.sequences

    @cached_property
    def lengths(self) -> list[int]:
        """How many sequences each process has, 0 where it only repeats some."""
        busy = min(self.processes, max(1, self.sequences // _LEAST))
        full, more = divmod(self.sequences, busy)
        return [full + (n < more) if n < busy else 0 for n in range(self.processes)]

    @property
    def length(self) -> int:
        """How many sequences this process computes."""
        return self.lengths[self.number] or min(_LEAST, self.sequences)

    @property
    def factor(self) -> float:
        """What the mean over this process's rows counts in the batch's: ``S_r / S``."""
        return self.lengths[self.number] / self.sequences

    @cached_property
    def index(self) -> Tensor:
        """Rows of the batch that this process computes, ``[length * times]``."""
        first = sum(self.lengths[: self.number]) if self.lengths[self.number] else 0
        own = torch.arange(first, first + self.length)
        return (own + self.sequences * torch.arange(self.times).unsqueeze(1)).flatten()

    def cut(self, interaction: Any) -> Any:
        """Return this process's rows of a batch, as a plain ``Interaction``."""
        return interaction[self.index]

    def whole(self, own: Tensor) -> Tensor:
        """Return the values of the whole batch.

        Args:
            own: Of this process's rows or sequences, ``[k * length, ...]`` for some k.

        Returns:
            ``[k * S, ...]``; where ``own`` has a graph, this process's part has it, too.
        """
        if self.processes == 1:
            return own
        times = len(own) // self.length
        parts = own.detach().view(times, self.length, *own.shape[1:])
        sent = parts.new_zeros((times, max(max(self.lengths), self.length), *own.shape[1:]))
        sent[:, : self.length] = parts
        found = [part[:, :length] for part, length in zip(gathered(sent), self.lengths)]
        if own.requires_grad and self.lengths[self.number]:
            found[self.number] = own.view(times, self.length, *own.shape[1:])
        return torch.cat(found, dim=1).flatten(0, 1)

    def own(self, whole: Tensor) -> Tensor:
        """Return this process's rows of the whole batch's values, ``[B, ...]``."""
        return whole if self.processes == 1 else whole[self.index.to(whole.device)]


class SplitRows:
    """A matrix whose rows lie with the processes that computed them; each sees it as one.

    ``gather`` and the choice of rows move what is asked for; anything else brings it together.

    Args:
        own: This process's rows, ``[length, n]``.
        share: Which rows these are.
    """

    def __init__(self, own: Tensor, share: Share) -> None:
        self._own, self._share = own, share
        self.shape = torch.Size((share.sequences, *own.shape[1:]))
        self.device, self.dtype = own.device, own.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """Return ``Tensor.gather``'s result; along the rows it is computed where they lie."""
        if dim not in (1, -1) or len(index) != len(self):
            return self.together().gather(dim, index)
        return self._share.whole(self._own.gather(1, self._share.own(index)))

    def __getitem__(self, key: Any) -> Any:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        columns = rest[0] if rest else None
        if isinstance(rows, slice) and rows == slice(None) and isinstance(columns, slice):
            return SplitRows(self._own[:, columns], self._share)
        if isinstance(rows, Tensor) and rows.dtype == torch.long and len(rest) < 2:
            return self._rows(rows, columns)
        return self.together()[key]

    def _rows(self, rows: Tensor, columns: Any) -> Tensor:
        """Return chosen rows, or single elements of them, as indexing of a tensor does."""
        share = self._share
        if isinstance(columns, Tensor):
            rows, columns = torch.broadcast_tensors(rows, columns)
        place = torch.full((share.sequences,), -1, device=rows.device)
        if share.lengths[share.number]:
            index = share.index[: share.length].to(rows.device)
            place[index] = torch.arange(share.length, device=rows.device)
        where = place[rows]
        local = where.clamp_min(0)
        found = self._own[local] if columns is None else self._own[local, columns]
        here = where >= 0
        while here.dim() < found.dim():
            here = here.unsqueeze(-1)
        return summed(torch.where(here, found, torch.zeros_like(found)))

    def together(self) -> Tensor:
        """Return the whole matrix."""
        return self._share.whole(self._own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.together(), name)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let any function of torch have the whole matrix."""
        args = [arg.together() if isinstance(arg, cls) else arg for arg in args]
        return function(*args, **(kwargs or {}))
