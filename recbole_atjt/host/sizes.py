"""Sizes that no data and no machine have, refused before anything of them is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole_atjt.errors import AtjtError, UsageError

#: Candidates, negatives and places of a history may exceed what the data has by this factor.
_FACTOR = 10
#: and are let through below this number in any case.
_FREE = 1000
#: Copies of a parameter while training: itself, its gradient and two moments of Adam.
_COPIES = 4
_BYTES = 4
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def refuse_topk(config: Any, n_items: int) -> None:
    """Refuse lists that are longer than there are items, before they are made after an epoch.

    Args:
        config: RecBole's configuration.
        n_items: Number of items, without padding.

    Raises:
        UsageError: Names both numbers.
    """
    topk = config["topk"] or []
    if config["metrics"] and max(topk, default=0) > n_items:
        raise UsageError(f"topk={topk} asks for more than the {n_items} items of the data")


def refuse_sizes(config: Any, n_items: int, longest: int) -> None:
    """Refuse settings that ask for more than the data offers or memory holds.

    Args:
        config: RecBole's configuration.
        n_items: Number of items, without padding.
        longest: Number of clicks of the user who has most.

    Raises:
        UsageError: Names key and value, and what would be right.
    """
    for key, value in _negatives(config):
        if value > max(_FREE, _FACTOR * n_items):
            raise UsageError(
                f"{key}{value} is out of proportion: the data has {n_items} items; "
                f"use at most {max(_FREE, _FACTOR * n_items)}"
            )
    length = config["MAX_ITEM_LIST_LENGTH"]
    if isinstance(length, int) and length > max(_FREE, _FACTOR * longest):
        raise UsageError(
            f"MAX_ITEM_LIST_LENGTH={length} is far above the longest history, {longest - 1} items: "
            f"use at most {max(_FREE, _FACTOR * longest)}"
        )
    for key, wanted in _parameters(config, n_items):
        if wanted > _memory():
            raise UsageError(
                f"{key}={config[key]} asks for at least {wanted / 2**30:,.0f} GiB to train, and "
                f"this machine has {_memory() / 2**30:,.0f} GiB: make it smaller"
            )


def _negatives(config: Any) -> Iterator[tuple[str, int]]:
    if config["value_metrics"]:
        yield "value_negatives=", int(config["value_negatives"] or 0)
    arguments = config["train_neg_sample_args"] or {}
    for name in ("sample_num", "candidate_num"):
        if isinstance(arguments.get(name), int):
            yield f"train_neg_sample_args {name}: ", arguments[name]
    modes = config["eval_args"]["mode"]
    for mode in modes.values() if isinstance(modes, dict) else [modes]:
        if str(mode)[3:].isdigit():
            yield f"eval_args mode: {str(mode)[:3]}", int(str(mode)[3:])


def _parameters(config: Any, n_items: int) -> Iterator[tuple[str, float]]:
    """Yield the bytes that widths ask for at least; only of keys that the caller gives."""
    for key in getattr(config, "external_config_dict", {}):
        value = config[key]
        if str(key).endswith(("embedding_size", "hidden_size")) and isinstance(value, int):
            yield key, _BYTES * _COPIES * float(value) * n_items
        elif isinstance(value, (list, tuple)) and "size" in key:
            widths = [float(width) for width in value if isinstance(width, int)]
            yield key, _BYTES * _COPIES * sum(one * other for one, other in zip(widths, widths[1:]))


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def memory_in_one_line(config: Any) -> Iterator[None]:
    """Name the largest sizes that a caller gave where memory ends in the block.

    Args:
        config: The config of what is built or trained inside.

    Raises:
        UsageError: There was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError, AtjtError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(e in text.lower() for e in _NO_MEMORY):
            raise
        given = {**getattr(config, "external_config_dict", {})}
        sizes = {key: _largest(value) for key, value in given.items()}
        largest = sorted((key for key in sizes if sizes[key] > 1), key=lambda key: -sizes[key])
        named = ", ".join(f"{key}={given[key]}" for key in largest[:3] if key != "seed")
        raise UsageError(
            f"model={config['model']} asks for more memory than there is; make smaller: "
            f"{named or 'train_batch_size, eval_batch_size'}"
        ) from error


def _largest(value: Any) -> float:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return max(map(_largest, value), default=0)
    return float(value) if isinstance(value, (int, float)) else 0
