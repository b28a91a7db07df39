"""Own clicks as datasets."""

from recbole_atjt.datasets.frames import from_frame

__all__ = ["from_frame"]
