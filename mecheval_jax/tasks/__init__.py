"""Recall tasks: documents, the queries about them, and their corruptions."""

from collections.abc import Mapping
from typing import Any

from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.compression import Compression
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.hop_recall import HopRecall
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.induction_heads import InductionHeads
from mecheval_jax.tasks.synthetic.memorization import Memorization
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.noisy_recall import NoisyRecall
from mecheval_jax.tasks.synthetic.selective_copying import SelectiveCopying
from mecheval_jax.tasks.synthetic.stacked_recall import StackedRecall
from mecheval_jax.tasks.synthetic.state_tracking import StateTracking
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall, JointRecall
from mecheval_jax.tasks.treecall.treecall import Treecall

TASKS: dict[str, type] = {
    "associative_recall": AssociativeRecall,
    "treecall": Treecall,
    "multi_query_recall": MultiQueryRecall,
    "selective_copying": SelectiveCopying,
    "induction_heads": InductionHeads,
    "noisy_recall": NoisyRecall,
    "fuzzy_recall": FuzzyRecall,
    "in_context_bigrams": InContextBigrams,
    "forgetting_recall": ForgettingRecall,
    "compositional_recall": CompositionalRecall,
    "joint_recall": JointRecall,
    "stacked_recall": StackedRecall,
    "hop_recall": HopRecall,
    "state_tracking": StateTracking,
    "compression": Compression,
    "memorization": Memorization,
    "documents": Documents,
}
"""The tasks by the name that a config gives them."""


def files_of(values: Any) -> dict[str, Any]:
    """Files that the ``task`` section of a config names, each with the hash that it must have.

    Args:
        values: The section, as it was read; whatever is no such section names no files.
    """
    task = _kind(values)
    if task is None:
        return {}
    return dict.fromkeys(task.files_of(values), values.get(task.hash_field))


def content_of(values: Any) -> str:
    """Hash of the content of the files that the ``task`` section of a config names.

    Args:
        values: The section, as for `files_of`.

    Returns:
        The hash; empty if the section has none, or names no files.
    """
    task = _kind(values)
    found = values.get(task.hash_field) if task is not None and task.files_of(values) else None
    return found if isinstance(found, str) else ""


def with_content(values: Mapping[str, Any], content: str) -> dict[str, Any]:
    """A ``task`` section with the hash that the content of its files must have.

    Args:
        values: The section.
        content: The hash; empty if its files may have any content, or if it has none.
    """
    task = _kind(values)
    known = task is not None and task.hash_field and content
    return {**values, task.hash_field: content} if known else {**values}


def fields_of_files(values: Any) -> list[str]:
    """Fields of the ``task`` section that name files whose content has a hash; none without it.

    Args:
        values: The section, as for `files_of`.
    """
    task = _kind(values)
    if task is None or not content_of(values):
        return []
    return [name for name, value in values.items() if task.files_of({name: value})]


def _kind(values: Any) -> type | None:
    """The task that a section is of; None if it is of none."""
    return TASKS.get(str(values.get("name"))) if isinstance(values, Mapping) else None
