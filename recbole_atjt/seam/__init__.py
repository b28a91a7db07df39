"""Per-sample losses out of any model, weighted and reduced in one place."""

from recbole_atjt.seam.adapters import register_adapter
from recbole_atjt.seam.criterion import Seam
from recbole_atjt.seam.selftest import verify_seam
from recbole_atjt.seam.substitution import substituted

__all__ = ["Seam", "register_adapter", "substituted", "verify_seam"]
