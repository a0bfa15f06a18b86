"""An experiment: one frozen value made from a config, checked before any compute."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks import TASKS
from mecheval_jax.tasks.base import Task
from mecheval_jax.training.config import TrainingConfig

SECTIONS = ("task", "model", "training", "evaluation")
"""Of a config."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is trained on what, how, and how it is judged.

    Attributes:
        task_name: name of the task's class in `tasks.TASKS`.
        task: where documents come from.
        model: shape of the model.
        training: regime.
        evaluation: documents, corruptions and intervals of the evidence.
    """

    task_name: str
    task: Task
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig

    def __post_init__(self):
        sizes = self.task.sizes()
        for field, split, count in (
            ("evaluation.documents", self.evaluation.split, self.evaluation.documents),
            ("training.evaluation_documents", "dev", self.training.evaluation_documents),
        ):
            if sizes.get(split) == 0:
                raise UserError(
                    f"split {split!r} has no documents, and {field} takes {count} of it: give "
                    f"more documents, or another task.{split}"
                )
            # Documents that are counted twice make every interval too narrow.
            if count > sizes.get(split, count):
                raise UserError(
                    f"{field} is {count}, and split {split!r} has {sizes[split]} documents: "
                    "take at most so many"
                )

    def check_interventions(self) -> None:
        """Check that documents have what interventions on them need.

        Training needs neither the roles nor the corruptions of the evaluation.

        Raises:
            UserError: a role or a corruption of the evaluation is not there, and why.
        """
        absent = self.task.absent()
        for kind, names, present in (
            ("role", self.evaluation.roles, self.task.role_names),
            ("corruption", self.evaluation.corruptions, self.task.corruptions),
        ):
            for name in names:
                if name in absent and name not in present:
                    others = f"name others ({', '.join(present)})" if present else "there is none"
                    raise UserError(
                        f"evaluation.{kind}s: there is no {kind} {name!r}, since {absent[name]}; "
                        f"add it to the documents, or {others}"
                    )
                choose(kind, name, present)

    def with_training(self, values: Mapping[str, Any]) -> "Experiment":
        """The same with another training section.

        Raises:
            UserError: a missing or unknown field, or a value that cannot be.
        """
        training = _build(TrainingConfig, values, "training")
        return dataclasses.replace(self, training=training)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, as they stand in ``config.json``; see `from_config`."""
        model = _plain(self.model)
        del model["vocabulary_size"]  # the task's
        return {
            "task": {"name": self.task_name, **_plain(self.task)},
            "model": model,
            "training": _plain(self.training),
            "evaluation": _plain(self.evaluation),
        }

    def fingerprint(self) -> str:
        """Hash of all that the trained model depends on."""
        values = self.as_dict()
        del values["evaluation"]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_config(config: ConfigDict | Mapping[str, Any]) -> Experiment:
    """Build and check an experiment.

    Args:
        config: sections ``task`` (with ``name``), ``model``, ``training``,
            ``evaluation``; fields are those of the dataclasses.

    Raises:
        UserError: a missing or unknown field, or a value that cannot be.
    """
    sections = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    for section in SECTIONS:
        if section not in sections:
            raise UserError(f"the config has no section {section!r}")
    task_values = dict(sections["task"])
    task_name = choose("task", task_values.pop("name", ""), TASKS)
    task = _build(TASKS[task_name], task_values, "task")
    vocabulary = {"vocabulary_size": task.vocabulary_size}
    model = _build(ModelConfig, dict(sections["model"]) | vocabulary, "model")
    if task.max_length > model.max_length:
        raise UserError(
            f"model.max_length {model.max_length} is shorter than the task's documents, "
            f"which have up to {task.max_length} tokens"
        )
    evaluation = _build(EvaluationConfig, sections["evaluation"], "evaluation")
    # What documents merely lack is in the way of interventions alone; see `check_interventions`.
    absent = task.absent()
    for kind, names, present in (
        ("corruption", evaluation.corruptions, task.corruptions),
        ("role", evaluation.roles, task.role_names),
    ):
        for name in names:
            if name not in absent:
                choose(kind, name, present)
    training = _build(TrainingConfig, sections["training"], "training")
    return Experiment(task_name, task, model, training, evaluation)


def _build(kind: type, values: Mapping[str, Any], section: str):
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in values:
        choose(f"field of {section}", name, fields)
    needed = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in needed if name not in values]
    if missing:
        raise UserError(f"{section} lacks {', '.join(missing)}")
    frozen = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return kind(**frozen)


def _plain(instance) -> dict[str, Any]:
    values = dataclasses.asdict(instance)
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def differences(first: Experiment, second: Experiment) -> list[tuple[str, Any, Any]]:
    """Fields of two experiments that differ: their names (``model.width``), and both values."""
    ours, theirs = flatten(first.as_dict()), flatten(second.as_dict())
    return [
        (name, ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dict, by ``section.field``."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
