"""Draw the share of noise that was found against the share that was planted.

python run_atjt.py bench benchmarks/calibration.yaml --output=benchmarks/results/calibration.jsonl
python benchmarks/calibration.py benchmarks/results/calibration.jsonl docs/figures/calibration.svg
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

KINDS = {"clickbait": ("o", "-"), "popular": ("s", "--"), "uniform": ("^", ":")}
"""Marker and line of each kind."""
COLOURS = {"channel": "#0072b2", "atjt": "#d55e00"}


def main() -> int:
    """Read the cells, draw a panel for each dataset, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    found: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {}
    for line in given.cells.read_text(encoding="utf-8").splitlines():
        cell = json.loads(line)
        if "failed" in cell:
            continue
        kind, _, share = cell["plant"].partition(":")
        series = found.setdefault(cell["dataset"], defaultdict(list))
        for each in [kind] if share else KINDS:
            point = (float(share or 0), float(cell["noise_share"]))
            series[each, cell["strategy"]].append(point)
    matplotlib.rcParams.update({"svg.hashsalt": "calibration", "font.size": 9})
    figure, panels = plt.subplots(
        1,
        len(found),
        figsize=(3.1 * len(found), 3.6),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for panel, (dataset, series) in zip(panels[0], found.items()):
        panel.plot([0, 0.45], [0, 0.45], color="#888888", linewidth=0.8)
        for (kind, strategy), points in series.items():
            if len(points) < 2:
                continue
            panel.plot(
                *zip(*sorted(points)),
                marker=KINDS[kind][0],
                markersize=4,
                linewidth=1,
                linestyle=KINDS[kind][1],
                color=COLOURS[strategy],
                label=f"{strategy}, {kind}",
            )
        panel.set_title(dataset)
        panel.set_xlabel("share planted")
    panels[0][0].set_ylabel("share found")
    lines, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    figure.savefig(given.picture, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
