"""Noise that is planted in training data, so that its truth is known."""

from recbole_atjt.noise.clicks import Clicks
from recbole_atjt.noise.files import plant_files
from recbole_atjt.noise.kinds import KINDS, Corrupted, corrupt
from recbole_atjt.noise.plan import Plan
from recbole_atjt.noise.planting import plant, planted_truth
from recbole_atjt.noise.spec import read_plan

__all__ = [
    "KINDS",
    "Clicks",
    "Corrupted",
    "Plan",
    "corrupt",
    "plant",
    "plant_files",
    "planted_truth",
    "read_plan",
]
