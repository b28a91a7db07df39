"""Which strategy trains which of the 49 models: what docs/strategies.md says is so."""

from __future__ import annotations

import pytest

from tests.pairs import MODELS, WEIGHTING, documented, generic, outcome, table_of
from tests.tiers import fast

#: One of each family, for the fast tier.
FEW = ("SASRec", "WideDeep")


@pytest.mark.parametrize("model", fast(MODELS, FEW))
def test_every_strategy_trains_every_model_that_the_table_says(model: str) -> None:
    table = documented()
    for weighting in WEIGHTING:
        found = generic(model, outcome(model, weighting))
        assert found == table[model, weighting], "run 'python docs/generate.py --pairs'"


def test_the_table_is_whole() -> None:
    assert set(documented()) == {(model, name) for model in MODELS for name in WEIGHTING}


def test_what_is_written_is_read_again() -> None:
    some = {(model, name): "runs" for model in MODELS for name in WEIGHTING}
    some["SASRec", "atjt"] = "weighting=atjt needs what MODEL has not"
    text = f"<!-- table: pairs -->\n\n{table_of(some)}\n\n<!-- end -->"
    assert documented(text) == some
