"""Does any input end in a traceback? Checkpoints, settings, command lines and atomic files.

``python benchmarks/fuzz.py [--inputs=10000] [--seed=0] [--targets=...]`` tries that many inputs in
all, drawn by Hypothesis from ``tests/fuzzed.py``. The last line is JSON: inputs of each target, and
what failed; the exit code is 1 where something did.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fuzzed import TARGETS  # noqa: E402


def main() -> int:
    """Try all targets, print what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", default=",".join(TARGETS))
    chosen = parser.parse_args()
    names = chosen.targets.split(",")
    tried, failed = {}, {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        for name in names:
            tried[name], failure = try_target(name, -(-chosen.inputs // len(names)), chosen.seed)
            if failure or Path("hacked").exists():
                failed[name] = failure or "code was run"
            print(f"{name}: {tried[name]} inputs, {failure or 'nothing failed'}", flush=True)
    print(json.dumps({"inputs": sum(tried.values()), "of": tried, "failed": failed}))
    return int(bool(failed))


def try_target(name: str, inputs: int, number: int) -> tuple[int, str]:
    """Try a target; return how many inputs were tried and what failed first."""
    use, drawn = TARGETS[name]
    count = [0]

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.tuples(*drawn))
    def tried(values: tuple[object, ...]) -> None:
        count[0] += 1
        use(*values)

    try:
        tried()
    except Exception as error:  # whatever it is: that is what is looked for
        notes = " ".join(getattr(error, "__notes__", []))
        return count[0], f"{type(error).__name__}: {error} {notes}"[:600]
    return count[0], ""


if __name__ == "__main__":
    raise SystemExit(main())
