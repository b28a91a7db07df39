"""Weighting strategies under one contract; nothing in this room knows RecBole."""
