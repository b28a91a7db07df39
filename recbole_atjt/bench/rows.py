"""The rows of a bench's table, as data: for the screen, Markdown, CSV and pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from recbole_atjt.bench.cells import identity_of
from recbole_atjt.bench.specification import Bench
from recbole_atjt.bench.statistics import Paired, holm, paired
from recbole_atjt.bench.strategies import Strategy
from recbole_atjt.evaluation.naming import smaller_is_better
from recbole_atjt.report.headroom import Headroom, headroom

#: The strategy that all others are compared with, and the one that knows the noise; by label.
PLAIN = "none"
ORACLE = "oracle"


@dataclass(frozen=True)
class Row:
    """A strategy on a model, a dataset and what is planted, over seeds.

    Args:
        model: Name of the model.
        dataset: Name of the dataset.
        plant: What is planted; ``none`` for nothing.
        strategy: Label of the strategy.
        metric: The metric, in small letters.
        part: ``test`` or ``valid``: whose metric it is.
        seeds: Seeds that are finished.
        failed: Number of cells that failed.
        tried: Number of configurations of the strategy that were tried on validation.
        chosen: Whether it is the best of these on validation; None where there is no choice.
        mean: Mean over the seeds.
        deviation: Their standard deviation; None for one seed.
        change: Relative change of the mean against plain training on common seeds.
        against: Comparison with plain training on common seeds.
        p: Its p-value, corrected by Holm for the strategies beside plain training and
            oracle; the oracle has none.
        within_spread: Whether the difference is smaller than the larger standard deviation.
        room: Headroom recovered, where plain training and the oracle are there.
        auroc: Mean AUROC of the weights telling the noise.
        share: Mean share of noise that was found.
        reported: What others report, as a share; their change against plain training.
    """

    model: str
    dataset: str
    plant: str
    strategy: str
    metric: str
    part: str
    seeds: tuple[int, ...]
    failed: int
    tried: int
    chosen: bool | None
    mean: float | None
    deviation: float | None
    change: float | None = None
    against: Paired | None = None
    p: float | None = None
    within_spread: bool | None = None
    room: Headroom | None = None
    auroc: float | None = None
    share: float | None = None
    reported: tuple[float, float | None] | None = None


def bench_rows(bench: Bench, lines: Iterable[Mapping[str, Any]], metric: str) -> list[Row]:
    """Return the rows of a metric, in the order of the file's lists; only what has a line.

    Args:
        bench: What was asked for.
        lines: Finished cells; of two lines of a cell the later one counts.
        metric: A metric in small letters.
    """
    by_cell = {identity_of(line): line for line in lines}
    groups: dict[tuple[str, str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for cell in bench.cells:
        line = by_cell.get(cell.identity)
        if line is not None:
            group = groups.setdefault((cell.model, cell.dataset, cell.plant), {})
            group.setdefault(cell.strategy, []).append(line)
    found = []
    for names, group in groups.items():
        found += _Group(bench, metric, names, group).rows()
    return found


class _Group:
    """The strategies of one model, dataset and plant."""

    def __init__(
        self,
        bench: Bench,
        metric: str,
        names: tuple[str, str, str],
        lines: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        self.bench, self.metric, self.names, self.lines = bench, metric, names, lines
        self.values = {label: self.by_seed(label, bench.part) for label in lines}
        self.of = {strategy.label: strategy for strategy in bench.strategies}

    def by_seed(self, label: str, part: str) -> dict[int, float]:
        """Return the metric of a strategy's finished cells."""
        return {
            line["seed"]: line[part][self.metric]
            for line in self.lines[label]
            if (line.get(part) or {}).get(self.metric) is not None
        }

    def rows(self) -> list[Row]:
        """Return the rows, p-values corrected."""
        rows = [self.row(self.of[label]) for label in self.of if label in self.lines]
        p_values = {
            row.strategy: row.against.p
            for row in rows
            if row.against and row.against.p is not None and row.strategy != ORACLE
        }
        by_label = dict(zip(p_values, holm(list(p_values.values()))))
        return [replace(row, p=by_label.get(row.strategy)) for row in rows]

    def row(self, strategy: Strategy) -> Row:
        """Return a row before the correction."""
        label, lines = strategy.label, self.lines[strategy.label]
        own = self.values[label]
        values = [own[seed] for seed in sorted(own)]
        row = Row(
            *self.names,
            label,
            self.metric,
            self.bench.part,
            tuple(sorted(own)),
            sum("failed" in line for line in lines),
            self.tried(strategy),
            self.chosen(strategy),
            mean(values) if values else None,
            stdev(values) if len(values) > 1 else None,
            auroc=_mean(line.get("noise_auroc") for line in lines),
            share=_mean(line.get("noise_share") for line in lines),
            reported=self.reported(label),
        )
        plain = self.values.get(PLAIN, {})
        common = sorted(own.keys() & plain.keys())
        if label == PLAIN or not common:
            return row
        ours, base = [own[seed] for seed in common], [plain[seed] for seed in common]
        against = paired(ours, base, smaller_is_better(self.metric))
        within = None
        if len(common) > 1:
            within = abs(against.difference) < max(stdev(ours), stdev(base))
        change = mean(ours) / mean(base) - 1 if mean(base) else None
        return replace(
            row, change=change, against=against, within_spread=within, room=self.room(label)
        )

    def room(self, label: str) -> Headroom | None:
        """Return the headroom that a strategy recovers, on the seeds that all three have."""
        if label == ORACLE or ORACLE not in self.values or smaller_is_better(self.metric):
            return None
        plain, own, oracle = (self.values.get(name, {}) for name in (PLAIN, label, ORACLE))
        seeds = sorted(plain.keys() & own.keys() & oracle.keys())
        if not seeds:
            return None
        first, second, third = ([one[seed] for seed in seeds] for one in (plain, own, oracle))
        return headroom(first, second, third)

    def variants(self, strategy: Strategy) -> list[Strategy]:
        """Return the configurations of a strategy that are in the file; plain training is one."""
        if strategy.label == PLAIN:
            return [strategy]
        return [
            other
            for other in self.bench.strategies
            if other.weighting == strategy.weighting and other.label != PLAIN
        ]

    def tried(self, strategy: Strategy) -> int:
        """Return how many configurations were tried on validation: told, or those in the file."""
        told = [other.tried for other in self.variants(strategy) if other.tried is not None]
        return max([len(self.variants(strategy)), *told])

    def chosen(self, strategy: Strategy) -> bool | None:
        """Tell whether validation chooses this configuration of a strategy, on all its seeds."""
        scores = {}
        for other in self.variants(strategy):
            found = self.by_seed(other.label, "valid") if other.label in self.lines else {}
            if found:
                scores[other.label] = mean(found.values())
        if len(scores) < 2 or strategy.label not in scores:
            return None
        best = min if smaller_is_better(self.metric) else max
        return best(scores, key=lambda label: scores[label]) == strategy.label

    def reported(self, label: str) -> tuple[float, float | None] | None:
        """Return the figure of others, as a share, and its change against their plain training."""
        theirs = self.bench.reported.get(self.names[0], {})
        figure = theirs.get(label, {}).get(self.metric)
        base = theirs.get(PLAIN, {}).get(self.metric)
        if figure is None:
            return None
        return figure / 100, figure / base - 1 if base and label != PLAIN else None


def _mean(values: Iterable[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float))]
    return mean(numbers) if numbers else None
