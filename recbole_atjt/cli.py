"""The command line: parse, call :func:`recbole_atjt.run`, print the comparison."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from recbole_atjt.errors import AtjtError, UsageError, nearest

LISTS = ("model", "dataset", "weighting", "seed")
DEFAULTS = {"model": ["SASRec"], "dataset": ["ml-100k"], "weighting": ["none", "atjt"]}
USAGE = """\
usage: run_atjt.py [--model=NAME] [--dataset=NAME] [--weighting=NAME,NAME] [--seed=INT,INT]
                   [--config_files="a.yaml b.yaml"] [--output_dir=DIR] [--KEY=VALUE ...]

Train a RecBole model plainly and on weighted sequences, and compare. Without model, dataset and
config files: SASRec on RecBole's ml-100k with the short settings of properties/quickstart.yaml.

  --model         RecBole model (any general, sequential or context-aware one), AEL or MF [SASRec]
  --dataset       RecBole dataset: ml-100k, one RecBole can download, or a folder under data_path
                  [ml-100k]
  --weighting     strategies to compare: {strategies} [none,atjt]
  --seed          seeds; a list of models, datasets, strategies or seeds means one run each [2020]
  --config_files  RecBole config files (YAML), separated by spaces; later ones win
  --output_dir    where result.json and the checkpoints go [runs/<model>-<dataset>-<time>]
  --KEY=VALUE     any key of RecBole's or of ours; values are read as YAML, never run as code

  plant ...       write a dataset's files with planted noise: plant --help

Keys of ours:
{keys}
"""


PLANT_KEYS = (
    "dataset",
    "data_path",
    "plant",
    "output_dir",
    "plant_seed",
    "plant_items",
    "keep",
)
PLANT_USAGE = """\
usage: run_atjt.py plant --dataset=NAME --data_path=DIR --plant=KIND:SHARE[,KIND:SHARE]
                         --output_dir=DIR [--plant_seed=INT] [--plant_items=INT] [--keep=INT]

Write a dataset's atomic files with planted noise and the truth in a column is_noise, for use with
any program. The original, DIR/NAME/NAME.inter, is never touched.

  --plant        uniform, popular, clickbait, insert, burst, swap, users, similar: shares in (0, 1)
  --output_dir   new folder, whose name becomes the dataset's
  --plant_seed   seed of the planting [2020]
  --plant_items  number of clickbait items [30]
  --keep         last clicks of each user that stay as they are, for validation and test [2]
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for failed training, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["plant"]:
            if "--help" in given or "-h" in given:
                print(PLANT_USAGE)
                return 0
            return _plant(given[1:])
        if "--help" in given or "-h" in given:
            print(_help())
            return 0
        return _run(given)
    except AtjtError as error:
        print(f"recbole-atjt: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("recbole-atjt: interrupted before training; nothing was saved", file=sys.stderr)
        return 130


def _plant(given: Sequence[str]) -> int:
    """Write a dataset's files with planted noise."""
    from pathlib import Path

    from recbole_atjt.noise.files import plant_files
    from recbole_atjt.settings.yaml_values import parse_value

    values = parse_arguments(given)
    for key in values:
        if key not in PLANT_KEYS:
            raise UsageError(f"key '{key}' is unknown{nearest(key, PLANT_KEYS)}; see plant --help")
    for key in PLANT_KEYS[:4]:
        if key not in values:
            raise UsageError(f"{key} is missing: give --{key}=VALUE; see plant --help")
    dataset = values["dataset"]
    more = {
        name: parse_value(values[key])
        for key, name in (("plant_seed", "seed"), ("plant_items", "items"), ("keep", "keep"))
        if key in values
    }
    written = plant_files(
        Path(values["data_path"]) / dataset, dataset, values["plant"], values["output_dir"], **more
    )
    print(f"written: {written}")
    return 0


def _run(given: Sequence[str]) -> int:
    values = parse_arguments(given)
    from recbole_atjt.experiment import run
    from recbole_atjt.report.table import comparison
    from recbole_atjt.settings.resources import properties_path

    files = str(values.pop("config_files", "")).split()
    output_dir = values.pop("output_dir", None)
    varied = {key: _listed(values.pop(key)) for key in LISTS if key in values}
    if not files and not {"model", "dataset"} & set(varied):
        files = [str(properties_path() / "quickstart.yaml")]
    named = {**_named_in(files), **varied}
    chosen = {**DEFAULTS, **named}
    if "weighting" not in named:
        chosen["weighting"] = _default_weighting(chosen["model"])
    result = run(**chosen, config_file_list=files, config_dict=values, output_dir=output_dir)
    print(f"\n{comparison(result.runs)}\n\nresult: {result.path}")
    return 0


def _default_weighting(models: Sequence[Any]) -> list[str]:
    """Compare with plain training, unless a named model is trained plainly only."""
    from recbole_atjt.model.staged import StagedModel
    from recbole_atjt.model.table import find_model

    staged = [issubclass(find_model(str(name)), StagedModel) for name in models]
    return ["none"] if any(staged) else DEFAULTS["weighting"]


def _named_in(files: Sequence[str]) -> dict[str, list[Any]]:
    """Return models, datasets, strategies and seeds that config files name."""
    from pathlib import Path

    from recbole_atjt.settings.yaml_values import load_yaml

    named: dict[str, Any] = {}
    for name in files:
        named.update(load_yaml(Path(name)))
    return {key: _listed(named[key]) for key in LISTS if key in named}


def parse_arguments(given: Sequence[str]) -> dict[str, Any]:
    """Turn ``--key=value`` and ``--key value`` into a dictionary of strings.

    Raises:
        UsageError: Something else than ``--key=value``, or a key given twice.
    """
    values: dict[str, Any] = {}
    rest = list(given)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise UsageError(f"argument '{argument}' is not of the form --key=value; see --help")
        key, equals, value = argument[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"argument '{argument}' has no value: write {argument}=VALUE")
            value = rest.pop(0)
        if key in values:
            raise UsageError(f"key '{key}' is given twice: {values[key]} and {value}")
        values[key] = value
    return values


def _listed(value: Any) -> list[Any]:
    from recbole_atjt.settings.yaml_values import parse_value

    parts = value if isinstance(value, list) else str(value).strip("[]").split(",")
    return [parse_value(part.strip() if isinstance(part, str) else part) for part in parts]


def _help() -> str:
    from recbole_atjt.model.table import model_keys
    from recbole_atjt.weighting.keys import explained_keys
    from recbole_atjt.weighting.table import strategy_names

    keys = "\n".join(
        f"  --{item.key}={item.default}\n      ({item.kind}) {item.text}"
        for item in (*explained_keys(), *model_keys())
        if item.key != "weighting"
    )
    return USAGE.format(strategies=", ".join(strategy_names()), keys=keys)
