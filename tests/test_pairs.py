"""Which strategy trains which of the 49 models: the table of docs/strategies.md."""

from __future__ import annotations

import copy
import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.utils import init_seed

from recbole_atjt import DenoisingConfig, DenoisingRecommender, DenoisingTrainer
from recbole_atjt.assembly import assemble
from recbole_atjt.errors import UsageError
from recbole_atjt.host.plain import with_values
from recbole_atjt.weighting.table import STRATEGIES
from tests.test_every_model import CONTEXT, SEQUENTIAL, settings_of

MODELS = [*SEQUENTIAL, *CONTEXT]
WEIGHTING = [name for name, strategy in STRATEGIES.items() if strategy is not None]
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "strategies.md"
_TABLE = re.compile(r"(?<=<!-- table: pairs -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


@cache
def prepared(model: str) -> tuple[Any, Any, Any]:
    """Return the config, the untrained model and the training data of a plain run."""
    config = DenoisingConfig(model, "tiny", None, {**settings_of(model), "weighting": "none"})
    ready = assemble(config, tempfile.mkdtemp())
    return ready.config, ready.model, ready.train_data


def outcome(model: str, weighting: str) -> str:
    """Train an epoch; return "runs", or why the pair is refused."""
    config, bare, train_data = prepared(model)
    config = with_values(config, weighting=weighting)
    init_seed(3, True)
    try:
        wrapped = DenoisingRecommender(copy.deepcopy(bare), config, train_data._dataset)
        trainer = DenoisingTrainer(config, wrapped)
        before = [value.clone() for value in wrapped.parameters()]
        loader = trainer.loader_of(train_data)
        wrapped.weighting.prepare(loader.other_sequences)
        trainer._train_epoch(loader, 0)
        for reward in (0.5, 0.6):
            wrapped.weighting.receive_reward(reward)
    except UsageError as error:
        return str(error)
    assert not all(torch.equal(x, y) for x, y in zip(before, wrapped.parameters()))
    weights = wrapped.weighting.report.weights
    assert weights.count > 0
    assert 0 <= weights.mean < float("inf")
    return "runs"


def documented() -> dict[tuple[str, str], str]:
    """Read the table of the documents: (model, weighting) -> "runs" or the reason."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (block,) = _TABLE.findall(text)
    lines = [line for line in block.splitlines() if line.startswith("| ")]
    _, *names = (cell.strip(" `") for cell in lines[0].strip("|").split("|"))
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", block, re.MULTILINE))
    found = {}
    for line in lines[2:]:
        model, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for name, cell in zip(names, cells):
            found[model, name] = "runs" if cell == "yes" else reasons[cell.split()[-1]]
    return found


def generic(model: str, text: str) -> str:
    """Return a refusal without the model's name, so that models can share it."""
    return re.sub(rf"\b{model}\b", "MODEL", text).replace("|", "/")


@pytest.mark.parametrize("model", MODELS)
def test_every_strategy_trains_every_model_that_the_table_says(model: str) -> None:
    table = documented()
    for weighting in WEIGHTING:
        found = generic(model, outcome(model, weighting))
        assert found == table[model, weighting], "run 'python -m tests.test_pairs' in the checkout"


def test_the_table_is_whole() -> None:
    assert set(documented()) == {(model, name) for model in MODELS for name in WEIGHTING}


def write_table() -> None:
    """Write the table anew."""
    reasons: list[str] = []
    rows = [
        "| model | " + " | ".join(f"`{name}`" for name in WEIGHTING) + " |",
        "|" + " --- |" * (len(WEIGHTING) + 1),
    ]
    for model in MODELS:
        cells = []
        for weighting in WEIGHTING:
            found = generic(model, outcome(model, weighting))
            if found != "runs" and found not in reasons:
                reasons.append(found)
            cells.append("yes" if found == "runs" else f"no, {reasons.index(found) + 1}")
        rows.append(f"| {model} | " + " | ".join(cells) + " |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    block = "\n".join([*rows, *(["", *notes] if notes else [])])
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_TABLE.sub(lambda _: block, text), encoding="utf-8")


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp())
    write_table()
