"""What the screen shows of scores."""

from __future__ import annotations

import textwrap

from recbole_atjt.scoring.figures import RIVALS, known_noise
from recbole_atjt.scoring.scored import Scored

#: Items that are named.
SUSPECTS = 5
_MEANINGS = {"score": "", **RIVALS}


def shown(scored: Scored, width: int = 80) -> str:
    """Return scores in some lines: how many, how large, how well they tell known noise.

    Args:
        scored: Scores of a dataset.
        width: Characters that a line may have.
    """
    config, table = scored.config, scored.table
    how = f"out of sample, {scored.groups} groups of users" if scored.groups else "in sample"
    score = table["score"]
    lines = [
        f"{config['model']} on {config['dataset']}, weighting {config['weighting']}, {how}, "
        f"seed {config['seed']}",
        f"scored: {len(table)} training interactions of {table['user'].nunique()} users; "
        f"{scored.first_clicks} first clicks have no history and no score",
        f"score: mean {score.mean():.3f}, median {score.median():.3f}, "
        f"above 0.5 {(score > 0.5).mean():.1%}"
        + ("" if scored.by == "probability" else "; the rank of the weight, no probability"),
        _suspects(scored),
    ]
    found = [textwrap.fill(line, width, subsequent_indent="  ") for line in lines if line]
    noise = known_noise(table)
    if noise is not None:
        found += ["", *_figures(scored, float(noise.mean()))]
    return "\n".join(found)


def _suspects(scored: Scored) -> str | None:
    if scored.by != "probability" or not float(scored.table["score"].sum()):
        return None
    mass = scored.table.groupby("item")["score"].sum().sort_values(ascending=False, kind="stable")
    share = (mass / mass.sum()).head(SUSPECTS)
    named = ", ".join(f"{item} ({part:.1%})" for item, part in share.items())
    return f"most of the noise is on items: {named}"


def _figures(scored: Scored, share: float) -> list[str]:
    precision = f"precision at {share:.1%}"
    head = f"{'taken for noise':<26}{'AUROC':>8}{'average precision':>19}{precision:>20}"
    rows = [head, "-" * len(head)]
    for name, each in scored.figures.items():
        what = _MEANINGS[name] or "a high score"
        rows.append(
            f"{what:<26}{each.auroc:>8.3f}{each.average_precision:>19.3f}{each.precision:>20.3f}"
        )
    return rows
