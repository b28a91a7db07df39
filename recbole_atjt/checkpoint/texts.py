"""Many short texts as two tensors, which are smaller than JSON and read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

#: Lone surrogates, which a damaged file may have, go round as well.
_ERRORS = "surrogatepass"


def pack(texts: Sequence[str]) -> dict[str, Tensor]:
    """Return the UTF-8 bytes of texts, one after another, and how many each has."""
    encoded = [text.encode(errors=_ERRORS) for text in texts]
    together = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
    lengths = torch.tensor([len(each) for each in encoded], dtype=torch.int32)
    return {"bytes": torch.from_numpy(together), "lengths": lengths}


def unpack(packed: Mapping[str, Tensor]) -> list[str]:
    """Return the texts that :func:`pack` was given.

    Raises:
        ValueError: The lengths are not those of the bytes, or the bytes are no UTF-8.
    """
    together, lengths = packed["bytes"].numpy().tobytes(), packed["lengths"].tolist()
    if sum(lengths) != len(together) or min(lengths, default=0) < 0:
        raise ValueError(f"texts of {sum(lengths)} bytes in {len(together)}")
    ends = accumulate(lengths)
    return [together[end - n : end].decode(errors=_ERRORS) for end, n in zip(ends, lengths)]
