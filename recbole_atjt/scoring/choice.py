"""Which interactions are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recbole_atjt.errors import UsageError
from recbole_atjt.scoring.figures import known_noise
from recbole_atjt.settings.yaml_values import require_whole


@dataclass(frozen=True)
class Choice:
    """What is left out.

    Attributes:
        lines: Lines of the file, ascending, ``[k]``.
        scored: How many interactions have a score.
        spared: How many more would be left out, but for their users' minimum.
        tied: How many stay that score as high as the lowest left out, beside the spared ones.
        users: Users who lose interactions.
        lowest: Lowest score that is left out; None where nothing is.
        precision: Share of known noise in what is left out; None where it is not known.
        recall: Share of the known noise that is left out; None as well.
    """

    lines: np.ndarray
    scored: int
    spared: int
    tied: int
    users: int
    lowest: float | None
    precision: float | None
    recall: float | None

    def __str__(self) -> str:
        count = len(self.lines)
        said = f"left out: {count} of {self.scored} scored interactions ({self._share():.1%})"
        if self.lowest is None:
            return f"{said}; {self.spared} spared for their users' minimum"
        said += f" of {self.users} users, scores {self.lowest:.4g} and higher"
        said += f"; {self.spared} spared for their users' minimum" if self.spared else ""
        said += f"; {self.tied} of the lowest of these scores stay" if self.tied else ""
        if self.precision is None or self.recall is None:
            return said
        return f"{said}\n{self.precision:.1%} of them are noise, {self.recall:.1%} of the noise"

    def _share(self) -> float:
        return len(self.lines) / max(1, self.scored)


def choose(
    table: pd.DataFrame,
    users: np.ndarray,
    above: Any = None,
    share: Any = None,
    min_user_inter: Any = 5,
) -> Choice:
    """Choose the interactions with the highest scores; never one with a score of 0.

    Args:
        table: Scores.
        users: User of each row of the whole file, ``[n]``.
        above: Those with a higher score are chosen.
        share: Share of the scored interactions that is chosen.
        min_user_inter: Least number of interactions that a user is left with.

    Raises:
        UsageError: Not exactly one of ``above`` and ``share``, or a value out of range.
    """
    if (above is None) == (share is None):
        raise UsageError("give either --above=THRESHOLD or --share=SHARE, one of them")
    require_whole("min_user_inter", min_user_inter)
    score, line = table["score"].to_numpy(), table["line"].to_numpy()
    if above is not None:
        _require_number("above", above, "at least 0 and below 1", lambda x: 0 <= x < 1)
        wanted = score > above
    else:
        _require_number("share", share, "above 0 and below 1", lambda x: 0 < x < 1)
        order = np.lexsort((line, -score))
        wanted = np.zeros(len(score), dtype=bool)
        wanted[order[: round(share * len(score))]] = True
        wanted &= score > 0
    gone = _within_minimum(table, users, np.flatnonzero(wanted), min_user_inter)
    out = np.zeros(len(score), dtype=bool)
    out[gone] = True
    lowest = float(score[out].min()) if out.any() else None
    noise = known_noise(table)
    known = noise is not None and out.any()
    return Choice(
        lines=np.sort(line[out]),
        scored=len(score),
        spared=int((wanted & ~out).sum()),
        tied=0 if lowest is None else int(((score == lowest) & ~wanted).sum()),
        users=int(table["user"][out].nunique()),
        lowest=lowest,
        precision=float(noise[out].mean()) if known and noise is not None else None,
        recall=float(out[noise].mean()) if known and noise is not None else None,
    )


def _within_minimum(
    table: pd.DataFrame, users: np.ndarray, wanted: np.ndarray, minimum: int
) -> np.ndarray:
    """Return those of the wanted rows that leave each user the minimum, worst scores first."""
    names, counts = np.unique(users.astype(str), return_counts=True)
    worst = table.iloc[wanted].sort_values(["score", "line"], ascending=[False, True])
    place = np.searchsorted(names, worst["user"].to_numpy(dtype=str))
    number = worst.groupby("user").cumcount().to_numpy()
    fits = number < counts[place] - minimum
    rows: np.ndarray = wanted[np.searchsorted(wanted, worst.index.to_numpy()[fits])]
    return rows


def _require_number(key: str, value: Any, text: str, holds: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not holds(value):
        raise UsageError(f"{key}={value} is out of range: it must be a number {text}")
