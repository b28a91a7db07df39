"""A process of its own that works on a bench's cells: ``python -m recbole_atjt.bench.worker``.

Its first line of input is what to do, as :func:`request` writes it; when its input ends, so does
it, so that no worker outlives the command that started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import torch

from recbole_atjt.bench.cells import Cell
from recbole_atjt.bench.journal import Journal
from recbole_atjt.bench.work import work
from recbole_atjt.errors import AtjtError


def request(cells: Sequence[Cell], path: Path, retried: int) -> str:
    """Return the line that tells a worker what to do."""
    asked = {"path": str(path), "retried": retried, "cells": [asdict(cell) for cell in cells]}
    return json.dumps(asked, default=str) + "\n"


def main() -> int:
    """Do what the first line of input asks for; return the exit code."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    torch.set_num_threads(1)
    cells = [Cell(**cell) for cell in asked["cells"]]
    try:
        with Journal(Path(asked["path"])) as journal:
            work(cells, journal, asked["retried"])
    except AtjtError as error:
        print(f"recbole-atjt: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with(input_: IO[str]) -> None:
    input_.read()
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main())
