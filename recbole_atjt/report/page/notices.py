"""What a reader should know before believing a page."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_atjt.report.page.picture import Block, number
from recbole_atjt.report.page.tables import against_plain, rooms, values
from recbole_atjt.report.result import RunResult


def findings(block: Block) -> list[str]:
    """Say in one sentence a strategy how it fares against plain training."""
    found = []
    recovered = rooms(block)
    for name in block.strategies:
        compared = against_plain(block, name, block.metric)
        if compared is None:
            continue
        sentence = f"{name}: {block.metric.upper()} {compared.change:+.4f}"
        if compared.percent is not None:
            sentence += f" ({compared.percent:+.1f} %)"
        sentence += f" against plain training on {block.part}"
        if compared.spread is not None:
            sentence += f"; the seeds' spread is {compared.spread:.4f}"
        if name in recovered:
            sentence += f"; headroom recovered: {recovered[name]}"
        found.append(f"{sentence}.")
    return found


def warnings(blocks: Sequence[Block]) -> list[str]:
    """Return what speaks against believing the figures, a line each."""
    runs = [run for block in blocks for run in block.runs]
    return [
        *(line for block in blocks for line in _of_block(block)),
        *_of_versions(runs),
        *(
            f"{run.model} on {run.dataset}, {run.weighting}, seed {run.seed}: {line}"
            for run in runs
            for line in run.warnings
        ),
    ]


def _of_block(block: Block) -> list[str]:
    found = []
    if "none" not in block.strategies:
        found.append(
            f"{block.title}: without plain training (none) there is nothing to compare with."
        )
    few = [name for name, runs in block.strategies.items() if len(runs) == 1]
    if few:
        found.append(
            f"{block.title}: one seed of {', '.join(few)}; the spread over seeds is unknown, and "
            "another seed may turn the order round."
        )
    for name in block.strategies:
        compared = against_plain(block, name, block.metric)
        if compared is not None and compared.is_within_spread:
            found.append(
                f"{block.title}: the difference of {name} and none in {block.metric.upper()}, "
                f"{compared.change:+.4f}, is smaller than the spread of the seeds, "
                f"{number(compared.spread)}: it may be chance."
            )
    for name, group in block.strategies.items():
        if len(values(group, block.part, block.metric)) < len(group):
            found.append(f"{block.title}: {name} has a {block.metric.upper()} that is no number.")
    return found


def _of_versions(runs: Sequence[RunResult]) -> list[str]:
    if len({tuple(sorted(run.versions.items())) for run in runs}) > 1:
        return ["The runs were made with different versions; see Versions."]
    return []


def missing(block: Block) -> list[str]:
    """Name the figures that a result can't give, and why."""
    found = []
    weights = [run.weights for run in block.runs if run.weights]
    if not any(run.progress for run in block.runs):
        found.append(
            "Loss and validation of each epoch: this result was written by a version that did not "
            "note them."
        )
    if weights and not any("noise_auroc" in each for each in weights):
        found.append(
            "Histograms, ROC and precision-recall: the data does not know its noise. Plant some "
            "(--plant=clickbait:0.3), or name a column of truth (clean_eval)."
        )
    elif weights and not any("noise_bins" in each for each in weights):
        found.append(
            "Histograms, ROC and precision-recall: this result was written by a version that did "
            "not keep the histogram of weights."
        )
    if not weights:
        found.append("Weights: only plain training was run.")
    if "oracle" not in block.strategies:
        found.append("Headroom: the oracle was not run (--weighting=none,...,oracle).")
    return found
