"""Activations exchanged between runs, and what that does to the answer."""
