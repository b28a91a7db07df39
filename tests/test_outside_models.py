"""Models of one's own: on the command line, and with keys that no source shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recbole_atjt
from recbole_atjt import DenoisingConfig, UsageError
from recbole_atjt.cli import main
from tests.runs import arguments, settings

SOURCE = """
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn


def size_of(config, names):
    return sum(config[name] for name in names)


class Mean(SequentialRecommender):
    own_keys = {"their_width": 4, "their_more": 2}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        size = size_of(config, ["their_" + word for word in ("width", "more")])
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.loss_fct = nn.CrossEntropyLoss()

    def forward(self, interaction):
        return self.item_embedding(interaction[self.ITEM_SEQ]).sum(dim=1)

    def calculate_loss(self, interaction):
        scores = self.full_sort_predict(interaction)
        return self.loss_fct(scores, interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction):
        return self.forward(interaction) @ self.item_embedding.weight.T


class Undeclared(Mean):
    own_keys = {}


class Other:
    pass
"""


@pytest.fixture(autouse=True)
def _module() -> Iterator[None]:
    Path("their_models.py").write_text(SOURCE, encoding="utf-8")
    Path("their_broken_model.py").write_text("raise OSError('no luck')\n", encoding="utf-8")
    before = list(sys.path)
    yield
    sys.path[:] = before
    for name in ("their_models", "their_broken_model"):
        sys.modules.pop(name, None)


def keys(**changes: Any) -> dict[str, Any]:
    return settings(loss_type="CE", epochs=1, **changes)


def test_the_command_trains_a_model_of_ones_own() -> None:
    assert main(arguments(model="their_models:Mean", loss_type="CE", their_width=6)) == 0
    runs = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    assert [run["model"] for run in runs] == ["Mean"]
    assert runs[0]["config"]["their_width"] == 6
    assert runs[0]["config"]["their_more"] == 2  # declared, and not given
    assert runs[0]["parameters"]["recommender"] == 41 * 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("their_models:Nothing", "can't be loaded: .* has no attribute 'Nothing'"),
        ("no_such_models:Mean", "can't be loaded: .*No module named 'no_such_models'"),
        ("their_broken_model:Mean", "can't be loaded: OSError: no luck"),
        ("their_models:Other", "is no class derived from RecBole's SequentialRecommender"),
        ("their_models:size_of", "is no class derived from RecBole's SequentialRecommender"),
        ("os:system('touch hacked')", "is not of the form module:Class"),
        (":Mean", "is not of the form module:Class"),
        ("their_models:", "is not of the form module:Class"),
    ],
)
def test_what_is_no_model_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recbole_atjt.run(name, "tiny", "none", config_dict=keys())
    assert not Path("hacked").exists()


def test_a_key_that_is_read_in_a_helper_is_known_once_it_is_declared() -> None:
    declared = DenoisingConfig("their_models:Mean", "tiny", config_dict=keys(their_width=6))
    assert (declared["their_width"], declared["their_more"]) == (6, 2)
    with pytest.raises(UsageError, match=r"Undeclared may declare its own: own_keys = \{NAME: DEF"):
        DenoisingConfig("their_models:Undeclared", "tiny", config_dict=keys(their_width=6))
    with pytest.raises(UsageError, match="key 'their_widht' is unknown, did you mean 'their_widt"):
        DenoisingConfig("their_models:Mean", "tiny", config_dict=keys(their_widht=6))
    with pytest.raises(UsageError, match="their_width=wide is not a whole number"):
        DenoisingConfig("their_models:Mean", "tiny", config_dict=keys(their_width="wide"))


def test_a_class_without_source_is_trained() -> None:
    space: dict[str, Any] = {"__name__": "console"}
    exec(compile(SOURCE, "<console>", "exec"), space)
    model = space["Mean"]
    (run,) = recbole_atjt.run(model, "tiny", "none", config_dict=keys(their_width=6)).runs
    assert run.config["their_width"] == 6
