"""Random states of all generators: captured, restored, kept."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Union

import numpy as np
import torch

from recbole_atjt.errors import TrainingError

Generators = Mapping[str, Union[torch.Generator, np.random.Generator]]


def capture_rng(generators: Generators | None = None) -> dict[str, Any]:
    """Return the state of all random generators, fit to be put into ``meta``.

    Args:
        generators: Named generators to keep beside the global ones of torch, numpy and Python.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # type: ignore[misc,unused-ignore]
    version, words, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, torch.from_numpy(np.array(keys, np.int64)), position, has_gauss, gauss),
        "python": (version, torch.tensor(words), gauss_next),
        "generators": {
            name: one.get_state() if isinstance(one, torch.Generator) else one.bit_generator.state
            for name, one in (generators or {}).items()
        },
    }


def restore_rng(state: Mapping[str, Any], generators: Generators | None = None) -> None:
    """Set all random generators to what `capture_rng` found.

    States of GPUs that this machine has not are left out: nothing can draw from them.

    Args:
        state: What `capture_rng` returned.
        generators: Generators of the same names as then.

    Raises:
        TrainingError: The names of the generators differ.
    """
    generators = generators or {}
    if set(generators) != set(state["generators"]):
        raise TrainingError(
            f"saved random generators are {sorted(state['generators'])}, not {sorted(generators)}"
        )
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for index, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda, index)
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss_next))
    for name, one in generators.items():
        if isinstance(one, torch.Generator):
            one.set_state(state["generators"][name])
        else:
            one.bit_generator.state = state["generators"][name]


@contextmanager
def kept() -> Iterator[None]:
    """Leave the global random states behind the block as they were before it."""
    state = global_state()
    try:
        yield
    finally:
        put_global_state(state)


def global_state() -> tuple[Any, ...]:
    """Return the states of the global generators as they are, for this process alone."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def put_global_state(state: tuple[Any, ...]) -> None:
    """Set the global generators to what :func:`global_state` found."""
    cpu, cuda, numbers, python = state
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
    np.random.set_state(numbers)
    random.setstate(python)
