"""The contract of strategies, on every one of the table and on those of another package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from recbole_atjt.weighting.table import STRATEGIES
from tests.outside import announced
from tests.strategy_contract import KINDS, LAWS, TRAINING_LAWS, Subject, weights_are_weights
from tests.tiers import fast

TABLE = {name: Subject(name) for name, strategy in STRATEGIES.items() if strategy is not None}
#: Settings beside the defaults under which a strategy is another one.
VARIANTS = {
    "t_ce at once": Subject("t_ce", {"t_ce_num_gradual": 1, "t_ce_drop_rate": 0.5}),
    "atjt joint": Subject(
        "atjt", {"atjt_evidence": "own", "atjt_joint_gradient": True, "atjt_scale_alpha": True}
    ),
    "atjt literal": Subject(
        "atjt",
        {
            "atjt_evidence": "own",
            "atjt_normalize": "none",
            "atjt_strength": 1.0,
            "atjt_schedule": "paper",
            "atjt_recognizer_attention": "sum",
            "atjt_replace": "both",
            "atjt_replace_count": 2,
        },
    ),
    "atjt reading all": Subject("atjt", {"atjt_recognizer_reads": "all", "atjt_noise_rate": 0.2}),
    "atjt as in the paper's data": Subject("atjt", {"atjt_replace_from": "uniform"}),
}
OUTSIDE = {name: Subject(name) for name in ("theirs", "declared")}
SUBJECTS = {**TABLE, **VARIANTS, **OUTSIDE}

pytestmark = pytest.mark.usefixtures("_installed")


@pytest.fixture
def _installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Install the other package where the test's strategy is from there."""
    outside = request.getfixturevalue("name") in OUTSIDE
    with announced(tmp_path / "site") if outside else nullcontext():
        yield


def called(law: Callable[..., Any]) -> str:
    return law.__name__


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_weights(name: str, kind: str) -> None:
    weights_are_weights(SUBJECTS[name].build(), KINDS[kind]())


@pytest.mark.parametrize("law", LAWS, ids=called)
@pytest.mark.parametrize("name", SUBJECTS)
def test_laws(name: str, law: Callable[[Subject], None]) -> None:
    law(SUBJECTS[name])


@pytest.mark.parametrize("law", TRAINING_LAWS, ids=called)
@pytest.mark.parametrize("name", fast([*TABLE, *OUTSIDE], ["atjt", "declared"]))
def test_laws_of_training(name: str, law: Callable[[Subject], None]) -> None:
    law(SUBJECTS[name])
