"""``plant``: a dataset's files with planted noise, for use with any program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_atjt.settings.arguments import read_arguments

REQUIRED = ("dataset", "data_path", "plant", "output_dir")
#: Key -> the argument of :func:`~recbole_atjt.noise.files.plant_files`.
OPTIONAL = {"plant_seed": "seed", "plant_items": "items", "keep": "keep"}
USAGE = """\
usage: recbole-atjt plant --dataset=NAME --data_path=DIR --output_dir=DIR
                          --plant=KIND:SHARE[,KIND:SHARE] [--plant_seed=INT]
                          [--plant_items=INT] [--keep=N]

Write a dataset's atomic files with planted noise and the truth in a column is_noise, for use with
any program. The original, DIR/NAME/NAME.inter, is never touched.

  --plant        uniform, popular, clickbait, insert, burst, swap, users, similar: shares in (0, 1)
  --output_dir   new folder, whose name becomes the dataset's
  --plant_seed   seed of the planting [2020]
  --plant_items  number of clickbait items [30]
  --keep         last clicks of each user that stay as they are, for validation and test; below 1
                 their share, such as 0.2 for a split of .8, .1 and .1 [2]
"""


def usage() -> str:
    """Return what ``plant --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Write a dataset's files with planted noise."""
    from recbole_atjt.noise.files import plant_files

    given = read_arguments("plant", arguments, (*REQUIRED, *OPTIONAL), REQUIRED)
    dataset, data_path, spec, output_dir = (given.values[key] for key in REQUIRED)
    more = {name: given.parsed(key) for key, name in OPTIONAL.items() if key in given.values}
    written = plant_files(Path(data_path) / dataset, dataset, spec, output_dir, **more)
    print(f"written: {written}")
    return 0
