"""Recall tasks: what a document is, who asks what of it, and how to corrupt it."""

from mecheval_jax.tasks.associative_recall import AssociativeRecall

TASKS: dict[str, type] = {"associative_recall": AssociativeRecall}
"""The tasks by the name that a config gives them."""
