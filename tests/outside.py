"""A package that announces strategies, as one from outside does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULE = '''
"""Weights by the length of the history."""

from dataclasses import dataclass

import torch

from recbole_atjt.settings.declared import DeclaredSettings, key
from recbole_atjt.weighting.base import Weighting


class Theirs(Weighting):
    needs_history = True
    own_keys = {"their_key": 1, "their_scale": 1.0, "their_dim": 0.5, "their_list": [1]}

    def weigh(self, evidence):
        assert type(self.settings.own["their_key"]) is int
        assert type(self.settings.own["their_scale"]) is float
        long = (evidence.history != 0).sum(dim=1) >= self.settings.own["their_key"]
        return torch.where(long, self.settings.own["their_scale"], 0.0)


@dataclass(frozen=True)
class DeclaredKeys(DeclaredSettings):
    declared_least: int = key(3, "Shortest history that counts.", within="[1, inf)")


class Declared(Weighting):
    """Histories that are shorter count nothing."""

    settings_class = DeclaredKeys
    needs_history = True

    def weigh(self, evidence):
        return ((evidence.history != 0).sum(dim=1) >= self.settings.declared_least).float()


class Column(Weighting):
    def weigh(self, evidence):
        return torch.ones(len(evidence.item), 1)


def no_class(settings, item_frequency):
    return None
'''
ENTRY_POINTS = {
    "theirs": "their_weights:Theirs",
    "declared": "their_weights:Declared",
    "column": "their_weights:Column",
    "function": "their_weights:no_class",
    "number": "math:pi",
    "broken": "their_broken:Theirs",
    "missing": "their_weights:Nothing",
    "nowhere": "no_such_module_of_theirs:Theirs",
    "atjt": "their_weights:Theirs",
}
NAMES = ("their_weights", "their_broken")


def write_sources(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "their_weights.py").write_text(MODULE, encoding="utf-8")
    (folder / "their_broken.py").write_text("raise RuntimeError('no\\nluck')\n", encoding="utf-8")


def entry_points() -> str:
    lines = [f"{name} = {target}" for name, target in ENTRY_POINTS.items()]
    return "\n".join(["[recbole_atjt.weightings]", *lines, ""])


@contextmanager
def announced(site: Path) -> Iterator[None]:
    """Put the package on the path of this process, as if it were installed into ``site``."""
    write_sources(site)
    described = site / "their_weights-1.0.dist-info"
    described.mkdir()
    metadata = "Metadata-Version: 2.1\nName: their-weights\nVersion: 1.0\n"
    (described / "METADATA").write_text(metadata, encoding="utf-8")
    (described / "entry_points.txt").write_text(entry_points(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        try:
            yield
        finally:
            for name in NAMES:
                sys.modules.pop(name, None)
