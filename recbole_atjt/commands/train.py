"""``train``, and the call without a subcommand: train, compare, print the comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from recbole_atjt.commands.layout import described, terminal_width
from recbole_atjt.commands.table import listed
from recbole_atjt.parallel.group import prints
from recbole_atjt.settings.arguments import parse_arguments
from recbole_atjt.settings.resources import config_file, named_files, protocols
from recbole_atjt.settings.yaml_values import load_yaml, parse_value, require_switch

if TYPE_CHECKING:
    from recbole_atjt.report.result import ExperimentResult

LISTS = ("model", "dataset", "weighting", "seed")
DEFAULTS = {"model": ["SASRec"], "dataset": ["ml-100k"], "weighting": ["none", "atjt"]}
USAGE = """\
usage: recbole-atjt [train] [--model=NAME] [--dataset=NAME]
                    [--weighting=NAME,NAME] [--seed=INT,INT]
                    [--config_files="a.yaml b.yaml"] [--output_dir=DIR]
                    [--report] [--KEY=VALUE ...]
       recbole-atjt --resume=DIR [--report]
       recbole-atjt COMMAND --help | --help=NAME | --version

Train a RecBole model plainly and on weighted sequences, and compare. Without model, dataset
and config files: SASRec on RecBole's ml-100k with the short settings of
properties/quickstart.yaml. `python run_atjt.py` in a checkout does the same.

Runs:
{options}

Commands:
{commands}

Keys of ours, as --KEY=VALUE; --help=NAME explains a key (also of RecBole's), a strategy or a
model:
{keys}
"""
OPTIONS = (
    (
        "--model",
        "a model of RecBole's, AEL, MF, or module:Class of your own; `models` lists them [SASRec]",
    ),
    (
        "--dataset",
        "ml-100k, one that RecBole downloads, or a folder under data_path; `datasets` "
        "lists them [ml-100k]",
    ),
    ("--weighting", "strategies to compare: {strategies} [none,atjt]"),
    ("--seed", "seeds; a list of models, datasets, strategies or seeds means one run each [2020]"),
    (
        "--config_files",
        "RecBole config files (YAML) with spaces between them, or the name of one "
        "that ships with the package ({protocols}); later ones win",
    ),
    (
        "--output_dir",
        "where result.json, the best models and the logs go, beside what other calls "
        "left there [a new folder runs/<model>-<dataset>-<time>]",
    ),
    ("--resume", "an output_dir whose unfinished runs are gone on with, by their own settings"),
    ("--report", "write the result as a page, too: report.html in output_dir"),
    ("--KEY=VALUE", "any key of RecBole's or of ours; values are read as YAML, never run as code"),
)


def usage() -> str:
    """Return what ``--help`` prints: options, subcommands, and the names of our keys."""
    from recbole_atjt.commands.explain import grouped_keys
    from recbole_atjt.weighting.table import strategy_names

    width = terminal_width()
    names = {"strategies": ", ".join(strategy_names()), "protocols": ", ".join(protocols())}
    options = described([(name, text.format(**names)) for name, text in OPTIONS], width)
    return USAGE.format(options=options, commands=listed(), keys=grouped_keys(width))


def run(arguments: Sequence[str]) -> int:
    """Make one run for each model, dataset, strategy and seed, and print the comparison."""
    values: dict[str, Any] = dict(parse_arguments(arguments, ("report",)))
    from recbole_atjt import experiment
    from recbole_atjt.report.page import require_matplotlib
    from recbole_atjt.settings.resources import properties_path

    files = named_files(str(values.pop("config_files", "")))
    output_dir, resume = values.pop("output_dir", None), values.pop("resume", None)
    with_page = require_switch("report", parse_value(values.pop("report", "False")))
    if with_page:
        require_matplotlib()  # before hours of training
    varied = {key: _listed(values.pop(key)) for key in LISTS if key in values}
    if resume is not None:
        chosen: dict[str, Any] = {**varied, "config_file_list": files or None, "resume": resume}
        return _shown(
            lambda: experiment.run(**chosen, config_dict=values, output_dir=output_dir), with_page
        )
    if not files and not {"model", "dataset"} & set(varied):
        files = [str(properties_path() / "quickstart.yaml")]
    named = {**_named_in(files), **varied}
    chosen = {**DEFAULTS, **named}
    if "weighting" not in named:
        chosen["weighting"] = _default_weighting(chosen["model"])
    return _shown(
        lambda: experiment.run(
            **chosen, config_file_list=files, config_dict=values, output_dir=output_dir
        ),
        with_page,
    )


def _shown(make: Callable[[], ExperimentResult], with_page: bool) -> int:
    """Make the runs and print their comparison, also where it could not be written."""
    from recbole_atjt import experiment
    from recbole_atjt.report.page import PAGE, write_page
    from recbole_atjt.report.table import comparison

    try:
        with experiment.ending_at_sigterm():
            result = make()
    except experiment.Unwritten as error:
        print(f"\n{comparison(error.result.everything, terminal_width())}\n")
        raise
    if not prints():
        return 0
    print(f"\n{comparison(result.everything, terminal_width())}\n\nresult: {result.path}")
    if with_page:
        print(f"page: {write_page(result.everything, result.output_dir / PAGE)}")
    return 0


def _default_weighting(models: Sequence[Any]) -> list[str]:
    """Compare with plain training, unless a named model is trained plainly only."""
    from recbole_atjt.model.staged import StagedModel
    from recbole_atjt.model.table import find_model

    staged = [issubclass(find_model(str(name)), StagedModel) for name in models]
    return ["none"] if any(staged) else DEFAULTS["weighting"]


def _named_in(files: Sequence[str]) -> dict[str, list[Any]]:
    """Return models, datasets, strategies and seeds that config files name."""
    named: dict[str, Any] = {}
    for name in files:
        named.update(load_yaml(config_file(name)))
    return {key: _listed(named[key]) for key in LISTS if key in named}


def _listed(value: Any) -> list[Any]:
    parts = value if isinstance(value, list) else str(value).strip("[]").split(",")
    return [parse_value(part.strip() if isinstance(part, str) else part) for part in parts]
