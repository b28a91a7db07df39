"""From a config to a score for each training interaction."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import init_seed
from scipy.stats import rankdata

from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import plain_config
from recbole_atjt.host.refusals import refusals_of_recbole
from recbole_atjt.loading import create_dataset, prepare_parts
from recbole_atjt.scoring.figures import Figures, measure
from recbole_atjt.scoring.folds import Fold, deal, held_out_fold, in_sample_fold
from recbole_atjt.scoring.judging import Tally, train_fold
from recbole_atjt.scoring.origin import Origin, origin_of
from recbole_atjt.scoring.table import COLUMNS
from recbole_atjt.version import versions
from recbole_atjt.weighting.mask_key import MASK_KEY, mask_below
from recbole_atjt.weighting.table import find_strategy, weighting_of


@dataclass(frozen=True)
class Scored:
    """Scores of all training interactions, and how they came about.

    Attributes:
        table: The file of scores, a row for each training interaction that is a target.
        unscored: ``line`` and ``part`` of the file's other clicks that a run reads.
        by: What the score is: ``probability``, or ``rank`` of the weight.
        groups: Groups of users that were held out one after the other; 0 for in sample.
        file: Name of the file that the lines are of.
        config: Every setting.
        seconds: How long it took.
        figures: How well score and rivals tell the noise; empty where it is not known.
    """

    table: pd.DataFrame
    unscored: pd.DataFrame
    by: str
    groups: int
    file: str
    config: dict[str, Any]
    seconds: float
    figures: dict[str, Figures] = field(default_factory=dict)

    @property
    def first_clicks(self) -> int:
        """Number of training users' first clicks, which have no history and so no score."""
        return int((self.unscored["part"] == "first").sum())

    def summary(self) -> dict[str, Any]:
        """Return what is written beside the scores."""
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "weighting": self.config["weighting"],
            "seed": self.config["seed"],
            "file": self.file,
            "in_sample": self.groups == 0,
            "groups": self.groups,
            "score_is": self.by,
            "interactions": len(self.table),
            "first_clicks": self.first_clicks,
            "mean_score": float(self.table["score"].mean()),
            "figures": {name: asdict(each) for name, each in self.figures.items()},
            "seconds": round(self.seconds, 3),
            "versions": versions(),
            "config": self.config,
        }


def score_interactions(config: Any, in_sample: bool = False, groups: int = 2) -> Scored:
    """Score each training interaction of a config's dataset by its strategy.

    Out of sample, users are dealt into groups, and each group is judged by a model and a strategy
    that were trained without its users.

    Args:
        config: A :class:`~recbole_atjt.config.DenoisingConfig` whose strategy weighs.
        in_sample: Whether interactions are judged by the training that they are part of.
        groups: Number of groups of users.

    Raises:
        UsageError: Nothing weighs, the model reads who the user is, or the data can't be had.
    """
    start = perf_counter()
    _require_strategy(config)
    init_seed(config["seed"], config["reproducibility"])
    with refusals_of_recbole(f"dataset '{config['dataset']}'"):
        dataset = create_dataset(config, numbered=True)
        parts = prepare_parts(config, dataset)
    origin = origin_of(config, parts)
    tally = Tally(len(parts[0]))
    with tempfile.TemporaryDirectory() as folder:
        for fold in _folds(config, dataset, parts, in_sample, groups):
            own = Path(folder) / str(fold.number)  # no fold sees another's pretrained model
            train_fold(config, fold, tally, in_sample, str(own))
    table = _table(origin, tally)
    return Scored(
        table=table,
        unscored=origin.unscored,
        by="probability" if tally.has_noise else "rank",
        groups=0 if in_sample else groups,
        file=origin.file.name,
        config=plain_config(config),
        seconds=perf_counter() - start,
        figures=measure(table),
    )


def _folds(config: Any, dataset: Any, parts: list[Any], in_sample: bool, groups: int) -> Any:
    if in_sample:
        yield in_sample_fold(config, dataset, parts)
        return
    group_of = deal(parts[0], groups, config["seed"])
    for number in range(groups):
        fold: Fold = held_out_fold(config, dataset, parts, group_of, number)
        yield fold


def _table(origin: Origin, tally: Tally) -> pd.DataFrame:
    _, weight, loss = tally.mean()
    score = tally.noise if tally.has_noise else (rankdata(-weight) - 0.5) / len(weight)
    table = origin.table.assign(
        score=np.clip(score, 0.0, 1.0), weight=weight, loss=loss, epochs=tally.epochs
    )
    names = [name for name in COLUMNS if name in table]
    return table[names].iloc[origin.order].reset_index(drop=True)


def _require_strategy(config: Any) -> None:
    name = weighting_of(config)
    if find_strategy(name) is None:
        raise UsageError(
            f"weighting={name} weighs nothing, so that there is nothing to score by: use channel "
            "or atjt"
        )
    if mask_below(config) is not None:
        raise UsageError(
            f"{MASK_KEY}={config[MASK_KEY]} is for training: clicks are scored with whole histories"
        )
