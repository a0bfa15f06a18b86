"""Mechanistic evaluation of sequence models: train them, cut into them, say how they recall."""

__version__ = "0.4.0"
