"""``score``: how likely each training interaction is to be noise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from recbole_atjt.commands.layout import terminal_width
from recbole_atjt.settings.arguments import parse_arguments
from recbole_atjt.settings.resources import config_file, named_files
from recbole_atjt.settings.yaml_values import load_yaml, parse_value, require_switch, require_whole

WEIGHTING = "channel"
SWITCHES = ("in_sample",)
USAGE = f"""\
usage: recbole-atjt score --model=NAME --dataset=NAME [--weighting=NAME]
                          [--output_dir=DIR] [--format=csv|parquet] [--groups=N]
                          [--in_sample] [--config_files="a.yaml b.yaml"]
                          [--KEY=VALUE ...]

Score each training interaction by how likely it is to be noise, from 0 to 1, and write the scores
to DIR. Users are dealt into groups, and each group is judged by a model and a strategy that were
trained without it. Where the noise is known (plant, a column is_noise, clean_eval) it says how well
the scores tell it. What the columns mean and how to choose a threshold: docs/scores.md.

  --weighting    strategy that judges [{WEIGHTING}]
  --output_dir   folder of scores.csv, unscored.csv and scores.json
                 [runs/scores-<model>-<dataset>-<time>]
  --format       csv, or parquet, which needs pyarrow [csv]
  --groups       groups of users; with more, each training has more users and there are more of
                 them [2]
  --in_sample    let one training judge what it is trained on, as models need that know users by
                 their ids
  --KEY=VALUE    any other key of RecBole's or of ours, as for train
"""


def usage() -> str:
    """Return what ``score --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Score the training interactions of a dataset."""
    values: dict[str, Any] = dict(parse_arguments(arguments, SWITCHES))
    form = str(values.pop("format", "csv"))
    in_sample = require_switch("in_sample", parse_value(values.pop("in_sample", "False")))
    groups = require_whole("groups", parse_value(values.pop("groups", "2")), 2)
    output = values.pop("output_dir", None)
    files = named_files(str(values.pop("config_files", "")))
    from recbole_atjt.config import DenoisingConfig
    from recbole_atjt.report.folder import RUNS, nothing_empty_after_failure
    from recbole_atjt.scoring.scored import score_interactions
    from recbole_atjt.scoring.screen import shown
    from recbole_atjt.scoring.table import require_format
    from recbole_atjt.scoring.writing import make_folder, write

    require_format(form)
    named = [values, *(load_yaml(config_file(file)) for file in files)]
    if not any("weighting" in each for each in named):
        values["weighting"] = WEIGHTING
    model, dataset = (values.pop(key, None) for key in ("model", "dataset"))
    config = DenoisingConfig(model, dataset, files, values)
    if output is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        output = Path(RUNS) / f"scores-{config['model']}-{config['dataset']}-{stamp}"
    with nothing_empty_after_failure(Path(output)):
        make_folder(Path(output))
        scored = score_interactions(config, in_sample, groups)
        path = write(scored, Path(output), form)
    print(f"{shown(scored, terminal_width())}\n\nscores: {path}")
    return 0
