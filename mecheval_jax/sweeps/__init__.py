"""Sweeps: many runs in groups of one shape, each group one program."""
