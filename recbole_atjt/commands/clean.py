"""``clean``: a dataset without the training interactions that are most likely noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_atjt.settings.arguments import read_arguments
from recbole_atjt.settings.yaml_values import require_switch

REQUIRED = ("scores", "dataset", "output_dir")
SWITCHES = ("ready_splits",)
OPTIONAL = ("above", "share", "min_user_inter", *SWITCHES)
USAGE = """\
usage: recbole-atjt clean --scores=FILE --dataset=NAME [--data_path=DIR]
                          --output_dir=DIR (--above=THRESHOLD | --share=SHARE)
                          [--min_user_inter=N] [--ready_splits]

Write a dataset without the training interactions that score highest. All other rows and files are
those of the original, to the byte; validation and test have no scores and stay. What is left out
goes to left_out.inter. The original is never touched. How to choose a threshold: docs/scores.md.

  --scores          file of scores that score has written, with scores.json beside it
  --output_dir      new folder, whose name becomes the dataset's
  --above           leave out what scores higher, from 0 to 1
  --share           leave out this share of the scored interactions, the highest scores
  --min_user_inter  leave no user with fewer interactions, all parts counted [5]
  --ready_splits    also write the parts that were scored, validated and tested as ready splits
                    (NAME.train.inter, ...): a split by ratio of fewer interactions would move
"""


def usage() -> str:
    """Return what ``clean --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Write a dataset without its most likely noise."""
    keys = (*REQUIRED, "data_path", *OPTIONAL)
    given = read_arguments("clean", arguments, keys, REQUIRED, switches=SWITCHES)
    from recbole_atjt.scoring.cleaning import clean_dataset

    scores, dataset, output_dir = (given.values[key] for key in REQUIRED)
    more: dict[str, Any] = {key: given.parsed(key) for key in OPTIONAL if key in given.values}
    require_switch("ready_splits", more.get("ready_splits", False))
    done = clean_dataset(scores, dataset, output_dir, given.values.get("data_path"), **more)
    print(f"{done.choice}\nleft out: {done.left_out}\nwritten: {done.file}")
    if done.ready:
        print(f"ready splits: --benchmark_filename=[{','.join(done.ready)}]")
    return 0
