"""All ratios of ``docs/benchmarks.md``, Speed, as one table, by ``epoch_ratio.py``.

Run it as ``python benchmarks/speed_table.py``, with one thread, or ``--only=BPR,DCN`` for some
models. Each cell is a ratio of seconds of the clock and, in brackets, of the processor, which a
busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Model, batch, batches of a round (whole eights where every eighth costs more), rounds, further
#: arguments.
CASES: tuple[tuple[str, int, int, int, tuple[str, ...]], ...] = (
    ("SASRec", 256, 3, 4, ()),
    ("SASRec", 256, 3, 4, ("--fast_dropout",)),
    ("SASRec", 2048, 1, 3, ()),
    ("GRU4Rec", 256, 4, 3, ()),
    ("WideDeep", 2048, 16, 9, ()),
    ("DCN", 2048, 8, 4, ()),
    ("DCN", 2048, 8, 4, ("--at_rest",)),
    ("BPR", 2048, 24, 5, ()),
    ("BPR", 2048, 24, 5, ("--at_rest",)),
)
_BASES = ("vs_shipped", "vs_plain", "vs_none")


def measure(model: str, batch: int, steps: int, rounds: int, more: tuple[str, ...]) -> Any:
    """Return what ``epoch_ratio.py`` says of one case."""
    script = Path(__file__).with_name("epoch_ratio.py")
    given = [f"--model={model}", f"--batch={batch}", f"--steps={steps}", f"--rounds={rounds}"]
    command = [sys.executable, str(script), *given, "--weighting=channel,atjt", *more]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said.strip().splitlines()[-1])


def main() -> None:
    """Measure and print, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="models, separated by commas")
    only = parser.parse_args().only.split(",")
    print("| model, batch | strategy | vs_shipped | vs_plain | vs_none |")
    print("| --- | --- | --- | --- | --- |")
    for model, batch, steps, rounds, more in CASES:
        if only != [""] and model not in only:
            continue
        found = measure(model, batch, steps, rounds, more)
        kinds = [each.strip("-").replace("_", " ") for each in more]
        label = ", ".join([f"{model}, {batch}", *kinds])
        for name in ("channel", "atjt"):
            cells = ["{:.2f} ({:.2f})".format(*found[name][base]) for base in _BASES]
            print(f"| {label} | `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
