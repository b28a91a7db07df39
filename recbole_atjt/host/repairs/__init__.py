"""Repairs of RecBole 1.2.1, grouped by what broke."""
