"""Checkpoints that load without running code: safetensors with one JSON text beside the tensors."""

from __future__ import annotations

import json
import math
import os
import platform
import random
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union

import numpy as np
import recbole
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import recbole_atjt
from recbole_atjt.errors import TrainingError, UsageError

FORMAT = "recbole_atjt"
FORMAT_VERSION = "1"
EXPECTED = "give a checkpoint that recbole_atjt has written"

PathLike = Union[str, "os.PathLike[str]"]
Generators = Mapping[str, Union[torch.Generator, np.random.Generator]]


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
            _encode(tensor, f"{section}.{name}", store)
    versions = {
        "recbole_atjt": recbole_atjt.__version__,
        "recbole": recbole.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    header = {
        "meta": _encode({"versions": versions, **meta}, "meta", store),
        "optimizers": _encode(dict(optimizers or {}), "optimizers", store),
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
    header, store = _read(path)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "tensors": {}}
    for key, tensor in store.items():
        section, name = key.split(".", 1)
        if section in groups:
            groups[section][name] = tensor.to(device)
    return Checkpoint(
        model_state=groups["model"],
        optimizers=_decode(header["optimizers"], store),
        tensors=groups["tensors"],
        meta=_decode(header["meta"], store),
    )


def save_model(
    path: PathLike,
    model: nn.Module,
    *,
    meta: Mapping[str, Any],
    optimizers: Mapping[str, Mapping[str, Any]] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a RecBole model with its ``other_parameter``; see `save_checkpoint` for the rest.

    Raises:
        TrainingError: As `save_checkpoint`, and for an ``other_parameter`` that has no safe form.
    """
    meta = {**meta, "other": other_parameters(model)}
    save_checkpoint(path, model.state_dict(), meta=meta, optimizers=optimizers, tensors=tensors)


def other_parameters(model: nn.Module) -> dict[str, Any]:
    """Return the tensors, numbers, strings and Nones that a RecBole model keeps beside its weights.

    Modules among them are left out: their weights are in the ``state_dict``.

    Raises:
        TrainingError: A value is of another kind, or a module whose weights would be lost.
    """
    found: dict[str, Any] = {}
    registered = {id(module) for module in model.modules()}
    named: dict[str, Any] = getattr(model, "other_parameter", dict)()
    for name, value in named.items():
        if isinstance(value, nn.Module) and id(value) in registered:
            continue
        if not (value is None or isinstance(value, (Tensor, bool, int, float, str, np.generic))):
            raise TrainingError(
                f"{type(model).__name__} keeps '{name}' ({type(value).__name__}) beside its "
                "weights; a safe checkpoint holds only tensors, numbers, strings and None there"
            )
        found[name] = value
    return found


def load_model(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights and ``other_parameter`` into a model of the same shape.

    Args:
        model: A model built for the same dataset and settings.
        checkpoint: What `load_checkpoint` returned.

    Raises:
        UsageError: Names, shapes or types differ; the first difference is named.
    """
    own = model.state_dict()
    for name in [*own, *checkpoint.model_state]:
        ours, theirs = _describe(own.get(name)), _describe(checkpoint.model_state.get(name))
        if ours != theirs:
            made_by = (
                f"{checkpoint.meta.get('model', '?')} on {checkpoint.meta.get('dataset', '?')}"
            )
            raise UsageError(
                f"the checkpoint was made with {made_by} and does not fit this "
                f"{type(model).__name__}: '{name}' is {theirs} there and {ours} here; "
                "use the same model, dataset and settings"
            )
    model.load_state_dict(checkpoint.model_state)
    device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
    for name, value in checkpoint.meta.get("other", {}).items():
        setattr(model, name, value.to(device) if isinstance(value, Tensor) else value)


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


def plain_config(config: Any) -> dict[str, Any]:
    """Return RecBole's final settings as plain JSON values.

    Args:
        config: RecBole's Config.

    Returns:
        Numbers, booleans, strings, lists and dicts; an Enum is its name, whatever else its text.
    """
    return {str(key): _plain(value) for key, value in config.final_config_dict.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    return str(value)


def _encode(value: Any, path: str, store: dict[str, Tensor]) -> Any:
    """Turn a value into JSON; tensors go to ``store``, and what JSON lacks is tagged with ``$``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_complex() or value.is_quantized:
            kind = f"{value.layout} tensor of {value.dtype}"
            raise TrainingError(f"{path}: a checkpoint cannot hold a {kind}")
        while path in store:
            path += "'"
        # A copy of its own: safetensors refuses tensors that share memory, such as tied weights.
        store[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"$tensor": path}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if type(value) in (list, tuple):
        items = [_encode(item, f"{path}.{index}", store) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) in (dict, OrderedDict):
        pairs = [(key, _encode(item, f"{path}.{key}", store)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(pairs)
        return {"$dict": [[_encode(key, path, store), item] for key, item in pairs]}
    raise TrainingError(f"{path}: a checkpoint cannot hold a {type(value).__name__}")


def _decode(value: Any, store: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, store) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return store[value["$tensor"]]
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(item, store) for item in value["$tuple"])
    if "$dict" in value:
        return {_decode(key, store): _decode(item, store) for key, item in value["$dict"]}
    return {key: _decode(item, store) for key, item in value.items()}


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype)[6:]}{list(tensor.shape)}"


def _checksum(text: str, store: Mapping[str, Tensor]) -> str:
    """Sum up text and tensors: safetensors checks the file's structure, not its contents."""
    total = zlib.crc32(text.encode())
    for name in sorted(store):
        total = zlib.crc32(f"{name} {_describe(store[name])}".encode(), total)
        total = zlib.crc32(store[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def _write(path: Path, store: dict[str, Tensor], metadata: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(store, temporary, metadata=metadata)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write checkpoint {path}: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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
