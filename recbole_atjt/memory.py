"""How a process that trains asks the system for memory."""

from __future__ import annotations

import ctypes
import os
import platform

#: Parameters of glibc's ``mallopt``.
_TRIM, _TOP, _MMAP = -1, -2, -3
#: Blocks from this on are given back to the system when they are freed; glibc itself does so from
#: 32 MiB on at the latest.
_GIVEN_BACK = 2**28
#: Free memory that may stay with the process beside them, and what it asks for beyond its need.
_KEPT, _AHEAD = 2**31 - 1, 2**26


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensors of up to 256 MiB.

    A step of training makes and frees the same tensors again and again; those above 32 MiB at the
    latest go to the system and come back page by page, zeroed, which takes a sixth of a training of
    SASRec at batch 2,048. Numbers do not change. Whoever sets glibc's own ``MALLOC_...`` is left
    alone, and so is another C library.

    Returns:
        Whether it does so now.
    """
    own = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    if own or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(_MMAP, _GIVEN_BACK), mallopt(_TRIM, _KEPT), mallopt(_TOP, _AHEAD)])
