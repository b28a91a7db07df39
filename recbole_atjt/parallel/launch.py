"""Starts the processes of a training, by RecBole's own keys, and says how they ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch import multiprocessing

from recbole_atjt.errors import AtjtError, TrainingError, UsageError
from recbole_atjt.parallel.group import ProcessLost, SaidElsewhere, launched

#: Keys of RecBole's ``run`` that say where and how many.
KEYS = ("nproc", "world_size", "ip", "port", "group_offset")
_PORT = 5678
#: Seconds in which the other processes may end by themselves, before they are asked, then made to.
_GRACE = 15.0
_KINDS = {kind.__name__: kind for kind in (UsageError, TrainingError)}


@dataclass(frozen=True)
class Launch:
    """Which processes this machine has of a training.

    Args:
        nproc: How many.
        world_size: How many there are on all machines.
        ip: Address of the first machine.
        port: Where its first process listens.
        group_offset: How many are on the machines before this one.
    """

    nproc: int
    world_size: int
    ip: str
    port: int
    group_offset: int

    def environment(self, number: int) -> dict[str, str]:
        """Return what ``torchrun`` would say to a process of this machine."""
        return {
            "RANK": str(self.group_offset + number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.nproc),
            "MASTER_ADDR": self.ip,
            "MASTER_PORT": str(self.port),
        }


def read_launch(given: dict[str, Any]) -> Launch | None:
    """Take the keys of a launch out of settings; None where one process is meant.

    Args:
        given: Settings; RecBole's ``nproc``, ``world_size``, ``ip``, ``port`` and
            ``group_offset`` are removed.

    Raises:
        UsageError: A value is none that there is, or ``torchrun`` has started the processes.
    """
    keys = {key: given.pop(key) for key in KEYS if key in given}
    nproc = _whole("nproc", keys.get("nproc", 1), 1, 1024)
    offset = _whole("group_offset", keys.get("group_offset", 0), 0, 2**20)
    world = keys.get("world_size", -1)
    alone = str(world) == "-1"
    world = nproc if alone else _whole("world_size", world, 1, 2**20)
    if keys and launched() and world > 1:
        raise UsageError(
            f"{'='.join(map(str, next(iter(keys.items()))))}: torchrun has started the processes: "
            f"leave {', '.join(keys)} out"
        )
    if offset + nproc > world:
        raise UsageError(
            f"world_size={world} is less than group_offset={offset} and nproc={nproc} together"
        )
    if world == 1:
        return None
    if "port" in keys:
        port = _whole("port", keys["port"], 1, 65535)
    else:
        port = _free_port() if world == nproc else _PORT
    return Launch(nproc, world, str(keys.get("ip", "localhost")), port, offset)


def _whole(key: str, value: Any, least: int, most: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise UsageError(f"{key}={value} is not a whole number") from None
    if not least <= number <= most:
        raise UsageError(f"{key}={value} is out of range: it must be from {least} to {most}")
    return number


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


def run_all(launch: Launch, target: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function in each process of this machine, and wait for all.

    Args:
        launch: The processes.
        target: A function of a module, which gives plain values.
        arguments: What it is called with.

    Returns:
        What the function gave in the first process of this machine.

    Raises:
        AtjtError: A process failed or died; the others have ended, too.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of a lost process, one line is said
    processes = [_Started(launch, number, target, arguments) for number in range(launch.nproc)]
    try:
        _wait_for(processes)
    except KeyboardInterrupt as error:  # a terminal interrupts all, SIGTERM is for one
        if type(error) is not KeyboardInterrupt:
            for each in processes:
                each.send(signal.SIGTERM)
        _wait_for(processes, ending=True)
        _raise_if_ended(launch, processes)
        raise
    finally:
        for each in processes:
            each.send(signal.SIGKILL)
    _raise_if_ended(launch, processes)
    return processes[0].said["value"]


class _Started:
    """One process and what it says in the end."""

    def __init__(
        self, launch: Launch, number: int, target: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe(duplex=False)
        self.rank = launch.group_offset + number
        self.said: dict[str, Any] = {}
        self.process = context.Process(
            target=_work,
            args=(launch.environment(number), launch.nproc, target, dict(arguments), other),
        )
        self.process.start()
        other.close()

    def listen(self) -> None:
        """Take in what it says, if it does."""
        if self.pipe.closed:
            return
        try:
            self.said = json.loads(self.pipe.recv_bytes())
        except EOFError:
            self.pipe.close()

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return bool(self.process.is_alive())

    @property
    def went_wrong(self) -> bool:
        """Whether it has ended, otherwise than it should."""
        return not self.lives and "value" not in self.said

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.lives and self.process.pid is not None:
            os.kill(self.process.pid, number)


def _wait_for(processes: list[_Started], ending: bool = False) -> None:
    """Wait until all have ended; once one has failed, not for long."""
    asks = [signal.SIGTERM, signal.SIGKILL]
    deadline = time.monotonic() + _GRACE if ending else None
    while any(each.lives for each in processes):
        if deadline is None and any(each.went_wrong for each in processes):
            deadline = time.monotonic() + _GRACE
        waited: list[Any] = [each.process.sentinel for each in processes if each.lives]
        waited += [each.pipe for each in processes if not each.pipe.closed]
        for found in wait(waited, 1.0):
            for each in processes:
                if each.pipe is found:
                    each.listen()
        if deadline is not None and time.monotonic() > deadline and asks:
            ask, deadline = asks.pop(0), time.monotonic() + _GRACE
            for each in processes:
                each.send(ask)
    for each in processes:
        each.process.join()
        while not each.pipe.closed:
            each.listen()


def _raise_if_ended(launch: Launch, processes: list[_Started]) -> None:
    """Raise what the first process that failed says, or which one died."""
    wrong = [each for each in processes if each.went_wrong]
    if not wrong:
        return
    for each in wrong:
        if each.said.get("kind") not in (None, ProcessLost.__name__, SaidElsewhere.__name__):
            raise _error_of(each.said)
    dead = [each for each in wrong if not each.said]
    told = [each.said for each in wrong if each.said.get("kind") == ProcessLost.__name__]
    if not dead:
        others = told or [each.said for each in wrong]
        raise _error_of(others[0])
    one = dead[0]
    how = _how_it_ended(one.process.exitcode or 0)
    where = f": {told[0]['where']}" if told and told[0]["where"] else ""
    raise ProcessLost(f"process {one.rank} of {launch.world_size} {how}{where}")


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _error_of(said: Mapping[str, Any]) -> AtjtError:
    kind = _KINDS.get(said["kind"])
    if kind is not None:
        return kind(said["text"])
    error = AtjtError(said["text"])
    error.exit_code = said["code"]
    return error


def _work(
    environment: Mapping[str, str],
    nproc: int,
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    pipe: Connection,
) -> None:
    """Be one process: call the function and say what came of it."""
    end_with_parent = getattr(multiprocessing, "_prctl_pr_set_pdeathsig", None)
    if end_with_parent is not None:
        end_with_parent(signal.SIGTERM)
    os.environ.update(environment)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // nproc))
    try:
        said: dict[str, Any] = {"value": target(**arguments)}
    except AtjtError as error:
        said = {"kind": type(error).__name__, "text": str(error), "code": error.exit_code}
        said["where"] = getattr(error, "where", "")
    except KeyboardInterrupt:
        said = {"kind": "Interrupted", "text": "interrupted before training", "code": 130}
    with suppress(BrokenPipeError):
        pipe.send_bytes(json.dumps(said).encode())
