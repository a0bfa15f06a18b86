"""Recall tasks: what a document is, who asks what of it, and how to corrupt it."""

from mecheval_jax.tasks.associative_recall import AssociativeRecall
from mecheval_jax.tasks.treecall import Treecall

TASKS: dict[str, type] = {
    "associative_recall": AssociativeRecall,
    "treecall": Treecall,
}
"""The tasks by the name that a config gives them."""
