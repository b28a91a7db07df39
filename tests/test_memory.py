"""Freed memory stays with the process that trains, unless its user has settled that."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, torch
from recbole_atjt.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
torch.empty(int(sys.argv[2]) // 4).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.empty(int(sys.argv[2]) // 4).fill_(1)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
MIB = 2**20


def faults(kept: str, size: int, **environment: str) -> tuple[str, int]:
    """Return what the function said, and the pages that twenty tensors of a size asked for."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", _FAULTS, kept, str(size)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    said, count = done.stdout.split()
    return said, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is a setting of glibc")
def test_tensors_take_the_memory_of_those_before_them() -> None:
    said, count = faults("kept", 64 * MIB)
    assert said == "True"
    assert count < faults("not", 64 * MIB)[1] / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is a setting of glibc")
@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
)
def test_settings_of_the_user_hold(environment: dict[str, str]) -> None:
    assert faults("kept", MIB, **environment)[0] == "False"
