"""The typed result of a call, and the result.json it becomes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from recbole_atjt.data.replacing import replacing
from recbole_atjt.report.headroom import headrooms
from recbole_atjt.report.reading import read_runs


@dataclass(frozen=True)
class RunResult:
    """One training run.

    Attributes:
        model: Name of the recommender.
        dataset: Name of the dataset.
        weighting: Name of the strategy.
        seed: Seed of the run.
        valid: Validation metrics of the best epoch.
        test: Test metrics of the best epoch's model.
        best_epoch: Epoch that validation chose, from 0.
        epochs: Number of epochs trained.
        seconds: ``prepare``, ``train`` (all epochs), ``epoch`` (mean), ``evaluate``.
        parameters: Trainable parameters of ``recommender`` and ``recogniser``.
        weights: ``epochs`` (figures of each epoch); where the data knows noise, ``true_positive``
            and ``false_positive`` with mean, variance and count in the last epoch; with a
            ``noise_auroc``, the AUROC of telling them apart by weight, and ``noise_bins``, the
            histogram of raw weights that it is of; where noise has a
            distribution over items, ``noise_items``, the items held most responsible; where
            training began again, ``begun``, the epoch; with a recogniser, ``original`` and
            ``replaced`` with mean and variance, and ``auroc``. None in plain training.
        warnings: What the log warned about.
        checkpoint: File that holds the best model.
        versions: Versions of the packages that matter.
        config: Every setting of the run, as plain JSON values.
        gate: Share of users for each choice of experts, such as ``mild+moderate``; None for a
            model without a gate.
        progress: Of each epoch ``epoch``, ``loss``, the mean over batches of the recommender's
            loss, and ``valid``, the value of ``valid_metric``, where it was validated; empty in a
            result of a version that did not note it.
    """

    model: str
    dataset: str
    weighting: str
    seed: int
    valid: dict[str, float]
    test: dict[str, float]
    best_epoch: int
    epochs: int
    seconds: dict[str, float]
    parameters: dict[str, int]
    weights: dict[str, Any] | None
    warnings: list[str]
    checkpoint: str
    versions: dict[str, str]
    config: dict[str, Any]
    gate: dict[str, float] | None = None
    progress: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What tells it apart from the other runs of its folder."""
        return f"{self.model}-{self.dataset}-{self.weighting}-{self.seed}"


@dataclass
class ExperimentResult:
    """All runs of a call, in the order they were made.

    Attributes:
        output_dir: Folder of result.json and of the checkpoints.
        runs: One entry a run.
        earlier: What result.json held of earlier calls.
        order: Names of runs in the order in which they stand; others come first.
    """

    output_dir: Path
    runs: list[RunResult] = field(default_factory=list)
    earlier: list[RunResult] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, folder: str | Path) -> ExperimentResult:
        """Read the result.json of a folder.

        Args:
            folder: The ``output_dir`` of a call.

        Returns:
            Its runs; null in place of a number is NaN, and what an older version did not note is
            empty.

        Raises:
            UsageError: There is no result.json, or it is damaged; says where.
        """
        result = cls(Path(folder))
        names = {each.name for each in fields(RunResult)}
        for run in read_runs(result.path):
            result.runs.append(RunResult(**{k: v for k, v in run.items() if k in names}))
        return result

    @property
    def path(self) -> Path:
        """Where result.json lies."""
        return self.output_dir / "result.json"

    @property
    def everything(self) -> list[RunResult]:
        """All runs of the folder, earlier ones first unless ``order`` says otherwise."""
        places = {name: place for place, name in enumerate(self.order)}
        return sorted([*self.earlier, *self.runs], key=lambda run: places.get(run.name, -1))

    def write(self) -> None:
        """Write result.json by rename, so that it is never half; NaN and infinity become null."""
        runs = [finite(asdict(run)) for run in self.everything]
        written: dict[str, Any] = {"runs": runs}
        rooms = headrooms(self.everything)
        if rooms:
            written["headroom"] = finite(rooms)
        text = json.dumps(written, indent=2, allow_nan=False)
        with replacing(self.path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def earlier_runs(folder: str | Path) -> list[RunResult]:
    """Return what earlier calls left in a folder's result.json; nothing where there is none.

    Raises:
        UsageError: It is damaged, so that it could not be kept.
    """
    exists = ExperimentResult(Path(folder)).path.exists()
    return ExperimentResult.load(folder).runs if exists else []


def finite(value: Any) -> Any:
    """Return a value with None for what JSON has no number for, NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
