"""Recall tasks: what a document is, who asks what of it, and how to corrupt it."""

from mecheval_jax.tasks.associative_recall import AssociativeRecall
from mecheval_jax.tasks.documents import Documents

TASKS: dict[str, type] = {"associative_recall": AssociativeRecall, "documents": Documents}
"""The tasks by the name that a config gives them."""
