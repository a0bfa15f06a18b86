"""Activations exchanged between runs, and the effects on the answer."""
