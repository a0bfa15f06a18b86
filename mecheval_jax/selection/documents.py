"""A config for a file of one's own, made to measure: how many documents, which roles, how long."""

import copy
from collections.abc import Mapping
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS
from mecheval_jax.experiment import Experiment, task_of
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.documents.documents import Documents

EVALUATIONS = 15
"""Evaluations on dev documents in a training, at least, so that it can end early."""

MARGIN = 1.5
"""By how many times more documents are asked for than give a split its fewest on the average: the
split is a hash, and with so many one file of sixty still has too few."""

TARGET = 0.99
"""Accuracy on dev documents at which a training ends early."""


def fitted(sections: Mapping[str, Any]) -> Experiment:
    """The experiment of a config of documents, fitted to what its file holds.

    Evaluations take as many documents as there are, at most as many as the config says. The length
    limit of the models is that of the longest document, if it is beyond the config's. Roles and
    corruptions are those of the config that the documents have. Trainings end at `TARGET`.

    Args:
        sections: Sections of a config; its task is ``documents``.

    Raises:
        UserError: If a section or a field cannot be, or the file is damaged, or too small for three
            splits.
    """
    config = copy.deepcopy(dict(sections))
    evaluation, training, model = (config[name] for name in ("evaluation", "training", "model"))
    task = task_of(config)
    sizes = task.sizes()
    # Splits are a hash: what is expected of a file is not what it has.
    short = [split for split in ("dev", "test") if sizes[split] < FEWEST_DOCUMENTS]
    if short:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        smallest = min(config["task"][split] for split in short)
        enough = (
            f": about {round(MARGIN * FEWEST_DOCUMENTS / smallest):,} in all" if smallest else ""
        )
        raise UserError(
            f"{config['task']['path']} has too few documents for three splits ({listed}): dev and "
            f"test need {FEWEST_DOCUMENTS} each{enough}"
        )
    evaluation["documents"] = min(evaluation["documents"], sizes["test"])
    training["evaluation_documents"] = min(training["evaluation_documents"], sizes["dev"])
    for name, there in (("roles", task.role_names), ("corruptions", task.corruptions)):
        kept = tuple(one for one in evaluation[name] if one in there)
        evaluation[name] = kept or evaluation[name]
    model["max_length"] = max(model["max_length"], task.max_length)
    if training["target_accuracy"] is None:
        training["target_accuracy"] = TARGET
        often = max(1, training["steps"] // EVALUATIONS)
        training["evaluate_every"] = min(training["evaluate_every"], often)
        training["checkpoint_every"] = min(training["checkpoint_every"], 3 * often)
    return Experiment.from_config(config)


def without_the_longest(task: Task) -> str:
    """What to say of a task whose training takes too long if a few documents are far longer."""
    if not isinstance(task, Documents) or not (far := task.far_longer()):
        return ""
    return f"; without documents that are far longer than most a step takes less ({far[0]})"
