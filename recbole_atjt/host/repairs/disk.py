"""Repairs of what a full disk ends: figures and logs may be lost, a training may not."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from recbole_atjt.host.repairs.override import override
from recbole_atjt.parallel.group import is_first

#: Whether trainers that are made now have a folder of figures of their own, and which.
_FIGURES: ContextVar[tuple[Path | None] | None] = ContextVar("figures", default=None)


@contextmanager
def figures_in(folder: Path | None) -> Iterator[None]:
    """Let trainers that are made in the block write TensorBoard's figures to a folder.

    Without it they go where RecBole puts them, ``log_tensorboard/`` in the working folder.

    Args:
        folder: It is made if need be; None for no figures.
    """
    token = _FIGURES.set((folder,))
    try:
        yield
    finally:
        _FIGURES.reset(token)


def go_on_without_figures() -> None:
    """Go on where TensorBoard can't write (``trainer/trainer.py:115, 425`` and below).

    Its writer raises in whatever call comes next, also after the last epoch, and its thread prints
    a traceback.
    """
    from recbole.trainer import trainer as module

    @override(module, "get_tensorboard")
    def get_tensorboard(original: Callable[..., Any], logger: logging.Logger) -> Figures:
        if not is_first():  # the first of several processes writes
            return Figures(_writer_in(None), logger)
        chosen = _FIGURES.get()
        return Figures(original if chosen is None else _writer_in(chosen[0]), logger)

    @override(threading, "excepthook")
    def excepthook(original: Callable[..., None], found: Any) -> None:
        writes_figures = type(found.thread).__module__.startswith("tensorboard.")
        if not (writes_figures and isinstance(found.exc_value, OSError)):
            original(found)


def _writer_in(folder: Path | None) -> Callable[[logging.Logger], Any]:
    from torch.utils.tensorboard import SummaryWriter

    return lambda _: None if folder is None else SummaryWriter(str(folder))


class Figures:
    """A TensorBoard writer that says once that it can't write, and does nothing from then on.

    Args:
        make: Makes RecBole's ``SummaryWriter`` from a logger.
        logger: Where it says so.
    """

    def __init__(self, make: Callable[..., Any], logger: logging.Logger) -> None:
        self._logger = logger
        self._writer: Any = None
        self._writer = self._tried(make, logger)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._writer is None:
                return None
            return self._tried(getattr(self._writer, name), *args, **kwargs)

        return call

    def _tried(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            self._writer = None
            self._logger.warning(f"TensorBoard's figures can't be written: {error.strerror}")
            return None


def keep_quiet(handlers: list[logging.Handler]) -> None:
    """Let a log file that can't be written say so once, in place of a traceback a line.

    Args:
        handlers: Those of a log; others than of files stay as they are.
    """
    for handler in handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _Once(handler)  # type: ignore[method-assign]


class _Once:
    def __init__(self, handler: logging.FileHandler) -> None:
        self._file, self._said = handler.baseFilename, False

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not self._said:
            self._said = True
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"{self._file} can't be written: {reason}", file=sys.stderr)
