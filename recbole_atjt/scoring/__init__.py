"""Scores of training interactions, what they are worth, and datasets without the worst."""
