"""All 49 sequential and context-aware models of RecBole train with ATJT, by the same command."""

from __future__ import annotations

from pathlib import Path

import pytest

import recbole_atjt
from tests.pairs import CONTEXT, SEQUENTIAL, settings_of
from tests.tiers import fast


def test_there_are_49() -> None:
    assert len(SEQUENTIAL) == 31
    assert len(CONTEXT) == 18


@pytest.mark.parametrize("model", fast([*SEQUENTIAL, *CONTEXT], ["SASRec", "WideDeep"]))
def test_trains_an_epoch_with_atjt(model: str) -> None:
    result = recbole_atjt.run(
        model, "tiny", "atjt", 7, config_dict=settings_of(model), output_dir="out"
    )
    (run,) = result.runs
    # A model that knows its users begins again with the pairs that were held out.
    assert run.epochs in (1, 2)
    assert run.best_epoch == run.epochs - 1
    assert set(run.test) == {"auc", "hit@5", "ndcg@5"}
    assert all(0.0 <= value <= 1.0 for value in run.test.values())
    assert run.weights is not None
    assert Path(run.checkpoint).is_file()
    if model == "BERT4Rec":  # its loss is built inside, over masked positions
        assert "shows no scores of other items" in run.warnings[0]
        return
    assert 0.0 < run.weights["original"]["mean"] <= 1.0  # 1 where no noise is found
    assert run.weights["epochs"][0]["recognizer_loss"] > 0.0
