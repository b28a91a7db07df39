"""The processes of a training and what they tell one another; alone, every verb is the identity."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from recbole_atjt.errors import AtjtError, UsageError

TIMEOUT = 600.0
"""Seconds without an answer after which another process is held to be gone."""

#: What a launcher says in the environment (``torchrun`` does).
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Linux's SIOCGIFADDR: the address of a network interface.
_ADDRESS_OF = 0x8915
#: Seconds in which the first process can say why a run ends.
_PATIENCE = 3.0


class ProcessLost(AtjtError):
    """Another process of the training has ended or does not answer.

    Args:
        text: Which.
        where: Where this one was, and what was saved.
    """

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(f"{text}: {where}" if where else text)
        self.text, self.where = text, where


class SaidElsewhere(AtjtError):
    """What ends this process, too, is said by another one.

    Args:
        text: What it says.
        exit_code: Its exit code.
    """

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _State:
    joined = False
    rank, size = 0, 1
    gpu: Any = None


def launched() -> bool:
    """Tell whether a launcher has started this process as one of several."""
    if not all(os.environ.get(name) for name in _LAUNCHED):
        return False
    return os.environ["WORLD_SIZE"] != "1"


def prints() -> bool:
    """Tell whether this process says what came of the run; known before and after the group."""
    return not launched() or os.environ["RANK"] == "0"


def size() -> int:
    """Return the number of processes."""
    return _State.size


def rank() -> int:
    """Return the number of this process, from 0."""
    return _State.rank


def is_first() -> bool:
    """Tell whether this process is the one that writes."""
    return rank() == 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", rank())) if _State.joined else 0


def local_size() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) if _State.joined else 1


@contextmanager
def joined(timeout: float = TIMEOUT) -> Iterator[None]:
    """Be one of the processes that a launcher has started; alone without a launcher.

    Args:
        timeout: Seconds without an answer after which another process is held to be gone.

    Raises:
        UsageError: The other processes can't be reached.
    """
    if not launched() or _State.joined:
        yield
        return
    interface = _interface_to(os.environ["MASTER_ADDR"])
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        distributed.init_process_group(
            "gloo", init_method="env://", timeout=timedelta(seconds=timeout)
        )
    except (RuntimeError, ValueError) as error:
        where = ":".join(os.environ[name] for name in _LAUNCHED[2:])
        raise UsageError(
            f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} can't join the others at "
            f"{where}: {_first_line(error)}"
        ) from error
    _State.joined = True
    _State.rank, _State.size = distributed.get_rank(), distributed.get_world_size()
    try:
        yield
    finally:
        _State.joined, _State.rank, _State.size, _State.gpu = False, 0, 1, None
        _let_go()


def _interface_to(address: str) -> str | None:
    """Return the network interface that leads to an address; None for this machine's own.

    Gloo else takes the one that the machine's name stands for, which others may not reach.
    """
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((address, 9))  # sends nothing
        own = one.getsockname()[0]
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                asked = struct.pack("256s", name.encode()[:15])
                found = socket.inet_ntoa(fcntl.ioctl(one.fileno(), _ADDRESS_OF, asked)[20:24])
                if found == own and not own.startswith("127."):
                    return name
    return None


def use_gpus() -> None:
    """Let tensors on a GPU go by NCCL from now on; every process calls it."""
    if _State.joined and _State.gpu is None:
        with _answered():
            _State.gpu = distributed.new_group(backend="nccl")


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            f"another of the {size()} processes has ended or does not answer"
        ) from error


def _group_of(tensor: Tensor) -> Any:
    return _State.gpu if tensor.is_cuda else None


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, in its place.

    Raises:
        ProcessLost: Another process has ended.
    """
    if _State.joined:
        with _answered():
            distributed.all_reduce(tensor, group=_group_of(tensor))
    return tensor


def gathered(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all processes, by rank; all have the same shape.

    Raises:
        ProcessLost: Another process has ended.
    """
    if not _State.joined:
        return [tensor]
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(size())]
    with _answered():
        distributed.all_gather(parts, tensor, group=_group_of(tensor))
    return parts


def gathered_rows(tensor: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks, ``[sum of n, ...]``.

    Args:
        tensor: ``[n, ...]``, whose number of rows may differ between processes.
    """
    if not _State.joined:
        return tensor
    own = torch.tensor([len(tensor)], dtype=torch.long, device=tensor.device)
    lengths = [int(length) for length in torch.cat(gathered(own)).tolist()]
    padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    return torch.cat([part[:length] for part, length in zip(gathered(padded), lengths)])


def from_first(tensor: Tensor) -> Tensor:
    """Return the first process's tensor, in the place of this one's of the same shape."""
    if _State.joined:
        with _answered():
            distributed.broadcast(tensor, 0, group=_group_of(tensor))
    return tensor


def same_as_first(tensors: list[Tensor]) -> None:
    """Give tensors the values that the first process has."""
    if not _State.joined:
        return
    for tensor in tensors:
        from_first(tensor.detach())


def texts(text: str) -> list[str]:
    """Return the texts of all processes, by rank."""
    if not _State.joined:
        return [text]
    data = torch.tensor([*text.encode()], dtype=torch.uint8)
    lengths = [int(length) for length in torch.cat(gathered(torch.tensor([len(data)]))).tolist()]
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(data)] = data
    return [
        bytes(part[:length].tolist()).decode() for part, length in zip(gathered(padded), lengths)
    ]


def decided(make: Callable[[], Any]) -> Any:
    """Return on every process what the first one makes, which alone makes it.

    Args:
        make: Gives plain values: numbers, texts, lists and dicts.

    Raises:
        SaidElsewhere: It failed there.
    """
    if not _State.joined:
        return make()
    value, failure = None, None
    if is_first():
        try:
            value = make()
        except AtjtError as error:
            failure = error
    with _failing_alike(failure):
        pass
    return json.loads(texts(json.dumps(value))[0])


@contextmanager
def together() -> Iterator[None]:
    """Let what ends one process in the block end all; nothing in it waits for another process.

    Raises:
        SaidElsewhere: It failed on a process before this one, which says it.
    """
    if not _State.joined:
        yield
        return
    failure: AtjtError | None = None
    try:
        yield
    except SaidElsewhere:
        raise
    except AtjtError as error:
        failure = error
    with _failing_alike(failure):
        pass


@contextmanager
def _failing_alike(failure: AtjtError | None) -> Iterator[None]:
    """Raise on all processes what any has raised."""
    own = "" if failure is None else json.dumps([str(failure), failure.exit_code])
    for number, said in enumerate(texts(own)):
        if said and number == rank():
            assert failure is not None
            raise failure
        if said:
            text, code = json.loads(said)
            raise SaidElsewhere(text, code)
    yield


def alike(text: str, what: str) -> None:
    """Refuse processes that differ in what has to be the same.

    Args:
        text: What has to be the same.
        what: Its name.

    Raises:
        UsageError: The text of a process is another than that of the first.
    """
    digests = texts(hashlib.sha256(text.encode()).hexdigest()[:12])
    for number, digest in enumerate(digests):
        if digest != digests[0]:
            raise UsageError(
                f"process {number} has other {what} than process 0 ({digest}, {digests[0]}): give "
                "all the same settings and the same files"
            )


@contextmanager
def copy_of(path: str) -> Iterator[str]:
    """Yield a path where this process can read a file of the first one's machine.

    Args:
        path: A file there; on other processes a copy is made in a folder that is gone afterwards.
    """
    if not _State.joined:
        yield path
        return
    data = torch.empty(0, dtype=torch.uint8)
    if is_first() and Path(path).is_file():
        data = torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
    length = from_first(torch.tensor([len(data)]))
    if not is_first():
        data = torch.empty(int(length), dtype=torch.uint8)
    from_first(data)
    if is_first():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        if len(data):
            copy.write_bytes(data.numpy().tobytes())
        yield str(copy)


def spoken(error: AtjtError) -> AtjtError:
    """Agree which process says why the run ends: the first one, if it still lives.

    Args:
        error: What ends this process.

    Returns:
        What this process is to raise.
    """
    if not _State.joined or isinstance(error, SaidElsewhere):
        return error
    found: list[AtjtError] = []
    talk = threading.Thread(target=lambda: found.append(_agreed(error)), daemon=True)
    talk.start()
    talk.join(2 * _PATIENCE)  # where a cable is cut, the store never answers
    if found:
        return found[0]
    return error if rank() < 2 else SaidElsewhere(str(error), error.exit_code)


def _agreed(error: AtjtError) -> AtjtError:
    """Say why this process ends and hear what the first one says; return what is to be raised."""
    with suppress(RuntimeError):
        store = distributed.distributed_c10d._get_default_store()
        lost = isinstance(error, ProcessLost)
        store.set(f"ended/{rank()}", "" if lost else str(error))
        if is_first():
            return _with_reasons(error, store) if isinstance(error, ProcessLost) else error
        _let_go()
        if _said(store, 0, _PATIENCE) is not None:
            return SaidElsewhere(str(error), error.exit_code)
    if is_first() or rank() == 1 or not isinstance(error, ProcessLost):
        return error
    return SaidElsewhere(str(error), error.exit_code)


def _let_go() -> None:
    """Close the connections, so that the others need not wait until this process has ended."""
    with suppress(RuntimeError, AssertionError):  # it may be closed already
        distributed.destroy_process_group()


def _with_reasons(error: ProcessLost, store: Any) -> ProcessLost:
    """Return an error with what other processes said before they ended."""
    said = []
    for number in range(1, size()):
        reason = _said(store, number, 1.0)
        said += [f"process {number}: {reason}"] if reason else []
    return ProcessLost("; ".join(said), error.where) if said else error


def _said(store: Any, number: int, seconds: float) -> str | None:
    """Return what a process said before it ended; None if it says nothing in time."""
    deadline = time.monotonic() + seconds
    while not store.check([f"ended/{number}"]):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)
    return str(store.get(f"ended/{number}").decode())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
