"""Checkpoints without pickle: values, files, models, runs."""

from recbole_atjt.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from recbole_atjt.checkpoint.model import load_model, save_model

__all__ = ["Checkpoint", "load_checkpoint", "load_model", "save_checkpoint", "save_model"]
