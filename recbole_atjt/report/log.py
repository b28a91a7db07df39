"""The log of a run: on the screen, and in a file of its own below the call's folder."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import colorlog
from recbole.utils.logger import RemoveColorFilter, log_colors_config

from recbole_atjt.host.repairs.disk import keep_quiet

#: Handlers of the run's log.
_OURS: list[logging.Handler] = []
_LEVELS = ("debug", "info", "warning", "error", "critical")


def start_log(path: Path, state: Any) -> None:
    """Log what follows on the screen, in RecBole's form, and at the end of a file.

    A caller that has set up logging keeps what it has set up; then there is no file.

    Args:
        path: The file; missing folders are made.
        state: RecBole's ``state``, the least level that is logged: ``debug`` to ``critical``.

    Raises:
        OSError: The file can't be written to.
    """
    root = logging.getLogger()
    if any(handler not in _OURS for handler in root.handlers):
        return
    end_log()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(
        logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%a %d %b %Y %H:%M:%S")
    )
    screen = logging.StreamHandler()
    screen.setFormatter(
        colorlog.TTYColoredFormatter(
            "%(log_color)s%(asctime)-15s %(levelname)s  %(message)s",
            "%d %b %H:%M",
            log_colors=log_colors_config,
            stream=sys.stderr,  # colours only where they are seen
        )
    )
    file.addFilter(RemoveColorFilter())
    if not sys.stderr.isatty():
        screen.addFilter(RemoveColorFilter())
    level = str(state or "info").lower()
    root.setLevel(level.upper() if level in _LEVELS else logging.INFO)
    _OURS[:] = [screen, file]
    for handler in _OURS:
        root.addHandler(handler)
    keep_quiet(_OURS)


def log_nothing() -> None:
    """Log nothing of what follows: another process of the training does."""
    root = logging.getLogger()
    if not root.handlers:
        _OURS[:] = [logging.NullHandler()]
        root.addHandler(_OURS[0])


@contextmanager
def no_log() -> Iterator[None]:
    """Keep the log of a run and warnings off the screen and out of files, inside the block."""
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)


def end_log() -> None:
    """Close the run's log, if there is one."""
    for handler in _OURS:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):
            handler.close()
    _OURS.clear()
