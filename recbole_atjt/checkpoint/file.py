"""Checkpoints that load without running code: safetensors with one JSON text beside the tensors."""

from __future__ import annotations

import json
import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import recbole
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recbole_atjt.checkpoint.codec import decode, describe, encode
from recbole_atjt.data.replacing import replacing
from recbole_atjt.errors import TrainingError, UsageError, in_one_line
from recbole_atjt.version import __version__

FORMAT = "recbole_atjt"
FORMAT_VERSION = "1"
EXPECTED = "give a checkpoint that recbole_atjt has written"

#: What reading a value of another kind or size raises.
_FORMLESS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        model_state: The model's ``state_dict``.
        optimizers: One ``state_dict`` for each named optimizer, on the CPU.
        tensors: Other named tensors.
        meta: Everything else that was given (model, dataset, epoch, config...) and ``versions``.
    """

    model_state: dict[str, Tensor]
    optimizers: dict[str, dict[str, Any]]
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def save_checkpoint(
    path: PathLike,
    model_state: Mapping[str, Tensor],
    *,
    meta: Mapping[str, Any],
    optimizers: Mapping[str, Mapping[str, Any]] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint beside its final name and rename it, so that a reader never sees half.

    ``meta`` and ``optimizers`` may nest dicts, lists, tuples, numbers, booleans, strings, None and
    tensors; all come back equal (numpy scalars as Python numbers).

    Args:
        path: Where the file goes; missing folders are made.
        model_state: The model's ``state_dict``.
        meta: What the file should say about the run.
        optimizers: One ``state_dict`` for each named optimizer.
        tensors: Other named tensors.

    Raises:
        TrainingError: A value has no safe form (it is named), or the disk refused; a file that was
            there before stays as it was.
    """
    store: dict[str, Tensor] = {}
    for section, group in (("model", model_state), ("tensors", tensors or {})):
        for name, tensor in group.items():
            encode(tensor, f"{section}.{name}", store)
    versions = {
        "recbole_atjt": __version__,
        "recbole": recbole.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    header = {
        "meta": encode({"versions": versions, **meta}, "meta", store),
        "optimizers": encode(dict(optimizers or {}), "optimizers", store),
    }
    text = json.dumps(header, allow_nan=False)
    metadata = {FORMAT: text, "version": FORMAT_VERSION, "checksum": _checksum(text, store)}
    _write(Path(path), store, metadata)


def load_checkpoint(path: PathLike, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint and check it whole, whatever device it was written on.

    Args:
        path: A file that `save_checkpoint` wrote.
        device: Where ``model_state`` and ``tensors`` go.

    Raises:
        UsageError: The file is missing, damaged, of another program or of another format version.
    """
    path = Path(path)
    with well_formed(path):
        header, store = _read(path)
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "tensors": {}}
        for key, tensor in store.items():
            section, name = key.split(".", 1)
            if section in groups:
                groups[section][name] = tensor.to(device)
        optimizers, meta = (decode(header[name], store) for name in ("optimizers", "meta"))
        if not (isinstance(optimizers, dict) and isinstance(meta, dict)):
            raise TypeError("optimizers and meta are no mappings")
    return Checkpoint(groups["model"], optimizers, groups["tensors"], meta)


@contextmanager
def well_formed(path: PathLike) -> Iterator[None]:
    """Turn what a file causes that has another form than ours into one line.

    Args:
        path: The checkpoint that is read, or taken up, in the block.

    Raises:
        UsageError: Something in it is missing or of another kind.
    """
    try:
        yield
    except _FORMLESS as error:
        raise UsageError(
            f"{path} has not the form of a checkpoint ({in_one_line(error)}); {EXPECTED}"
        ) from error


def _checksum(text: str, store: Mapping[str, Tensor]) -> str:
    """Sum up text and tensors: safetensors checks the file's structure, not its contents."""
    total = zlib.crc32(text.encode())
    for name in sorted(store):
        total = zlib.crc32(f"{name} {describe(store[name])}".encode(), total)
        total = zlib.crc32(store[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def _write(path: Path, store: dict[str, Tensor], metadata: dict[str, str]) -> None:
    try:
        with replacing(path) as temporary:
            save_file(store, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write checkpoint {path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the JSON text's value and the tensors of a file, or say what is wrong with it."""
    if not path.is_file():
        raise UsageError(f"no checkpoint file {path}; {EXPECTED}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # A copy in memory: the file may be replaced by the next best epoch.
            store = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        if _is_pickle(path):
            reason = "is a RecBole .pth file, which could run code when loaded"
        else:
            reason = f"is damaged or no checkpoint ({error})"
        raise UsageError(f"{path} {reason}; {EXPECTED}") from error
    text = metadata.get(FORMAT)
    if text is None:
        raise UsageError(f"{path} is a safetensors file of another program; {EXPECTED}")
    if metadata.get("version") != FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {metadata.get('version')}, this recbole_atjt reads "
            f"{FORMAT_VERSION}; load it with the version that wrote it"
        )
    if metadata.get("checksum") != _checksum(text, store):
        raise UsageError(f"{path} is damaged (its checksum does not match); {EXPECTED}")
    header: dict[str, Any] = json.loads(text)
    return header, store


def _is_pickle(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))
    return False
