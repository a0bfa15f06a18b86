"""An experiment: one frozen value made from a config, checked before any compute.

Programs of ``launch/`` pass the config of their flag ``--config`` to `Experiment.from_config`. A
run's folder keeps it as ``config.json``, from which the same function makes it again.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from mecheval_jax.checksums import hash_of
from mecheval_jax.errors import UserError, choose, several, shown
from mecheval_jax.evaluation.config import AnalysesConfig, EvaluationConfig
from mecheval_jax.fields import built, check_section, field_value_of_text, types_of
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks import TASKS, fields_of_files
from mecheval_jax.tasks.base import Task
from mecheval_jax.training.config import TrainingConfig

SECTIONS = ("task", "model", "training", "evaluation")
"""Sections that a config must have."""

ANALYSES = "analyses"
"""Section with the options of analyses, which have defaults; configs of old runs lack it."""

BOOKKEEPING = frozenset(
    f"training.{name}" for name in ("checkpoint_every", "keep_checkpoints", "milestones")
) | {"evaluation.chunk"}
"""Fields on which no number depends: two experiments that differ in them have equal results."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is trained on what, how, and how it is judged.

    Attributes:
        task_name: Name of the task's class in `tasks.TASKS`.
        task: Task that documents come from.
        model: Shape of the model.
        training: Regime of the training.
        evaluation: Documents, corruptions and intervals of the evidence.
        analyses: Options of further analyses.
    """

    task_name: str
    task: Task
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    analyses: AnalysesConfig = dataclasses.field(default_factory=AnalysesConfig)

    def __post_init__(self):
        sizes, too_many = self.task.sizes(), []
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
                too_many.append((field, split, count, sizes[split]))
        if too_many:
            told = "; ".join(
                f"{field} is {count}, and split {split!r} has {there} documents"
                for field, split, count, there in too_many
            )
            # Programs that read a run's folder have other flags than those of a config.
            most = ", ".join(f"{field}={there}" for field, _, _, there in too_many)
            flags = " ".join(f"--config.{field}={there}" for field, _, _, there in too_many)
            raise UserError(
                f"{told}: give {most} or less (beside --config=...: {flags}), or more documents"
            )

    @classmethod
    def from_config(cls, config: ConfigDict | Mapping[str, Any]) -> "Experiment":
        """Build and check an experiment.

        Args:
            config: Sections ``task`` (with ``name``), ``model``, ``training``,
                ``evaluation``; fields are those of the dataclasses.

        Raises:
            UserError: If a field is missing or unknown, or a value cannot be.
        """
        sections = _sections_of(config)
        task_name, task = _task_of(sections)
        vocabulary = {"vocabulary_size": task.vocabulary_size}
        model = built(ModelConfig, dict(sections["model"]) | vocabulary, "model")
        if task.max_length > model.max_length:
            raise UserError(
                f"model.max_length {model.max_length} is shorter than the task's documents, "
                f"which have up to {task.max_length} tokens"
            )
        evaluation = built(EvaluationConfig, sections["evaluation"], "evaluation")
        evaluation.check_against(task, interventions=False)
        training = built(TrainingConfig, sections["training"], "training")
        analyses = built(AnalysesConfig, sections.get(ANALYSES, {}), ANALYSES)
        return cls(task_name, task, model, training, evaluation, analyses)

    def with_evaluation(self, **changes: Any) -> "Experiment":
        """The same with some fields of the evaluation changed.

        Raises:
            UserError: If a value cannot be.
        """
        fields = dataclasses.fields(EvaluationConfig)
        values = {field.name: getattr(self.evaluation, field.name) for field in fields}
        evaluation = built(EvaluationConfig, values | changes, "evaluation")
        return dataclasses.replace(self, evaluation=evaluation)

    def with_training(self, values: Mapping[str, Any]) -> "Experiment":
        """The same with another training section.

        Raises:
            UserError: If a field is missing or unknown, or a value cannot be.
        """
        training = built(TrainingConfig, values, "training")
        return dataclasses.replace(self, training=training)

    def with_analyses(self, settings: Sequence[str]) -> "Experiment":
        """The same with some options of analyses changed.

        Args:
            settings: Texts ``analysis.field=value``.

        Raises:
            UserError: If a text is no such setting, a field is unknown, or a value cannot be.
        """
        values = _plain(self.analyses)
        for setting in several(settings):
            path, given, text = setting.partition("=")
            name, _, field = path.partition(".")
            if not (given and field):
                raise UserError(f"{setting!r} is no setting: give analysis.field=value")
            options = values[choose("analysis with options", name, values)]
            kinds = types_of(type(getattr(self.analyses, name)))
            kind = kinds[choose(f"field of {ANALYSES}.{name}", field, kinds)]
            options[field] = field_value_of_text(path, text, kind)
        return dataclasses.replace(self, analyses=built(AnalysesConfig, values, ANALYSES))

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, as they stand in ``config.json``; see `from_config`."""
        sections = {name: _plain(getattr(self, name)) for name in (*SECTIONS, ANALYSES)}
        del sections["model"]["vocabulary_size"]  # the task's
        return sections | {"task": {"name": self.task_name, **sections["task"]}}

    def fingerprint(self) -> str:
        """Hash of all that the trained model depends on."""
        values = self.as_dict()
        del values["evaluation"], values[ANALYSES]
        return hash_of(values)[:16]


def documents_asked(values: Mapping[str, Any]) -> str:
    """The documents that a run is trained and evaluated on, as a text that tells tasks apart.

    Args:
        values: Its sections, as in ``config.json``.
    """
    # The content of a file counts, which has a hash, and not where it lies.
    places = fields_of_files(values["task"])
    task = {name: value for name, value in values["task"].items() if name not in places}
    return json.dumps([task, values["evaluation"].get("split")], sort_keys=True)


def task_of(config: ConfigDict | Mapping[str, Any]) -> Task:
    """The task of a config alone, of which documents can be looked at before they suffice.

    Raises:
        UserError: As `Experiment.from_config`, of the sections' names and of the task.
    """
    return _task_of(_sections_of(config))[1]


def _sections_of(config: ConfigDict | Mapping[str, Any]) -> Mapping[str, Any]:
    """The sections of a config, all of which are there."""
    sections = config.to_dict() if isinstance(config, ConfigDict) else config
    if not isinstance(sections, Mapping):
        raise UserError(f"{shown(config)} is no config: give {', '.join(SECTIONS)} by name")
    for section in SECTIONS:
        if section not in sections:
            raise UserError(
                f"the config has no section {section!r}: start from another config, as "
                "configs/recall.py does from configs/base.py"
            )
        check_section(section, sections[section])
    return sections


def _task_of(sections: Mapping[str, Any]) -> tuple[str, Task]:
    """The name of the task, and the task."""
    values = dict(sections["task"])
    name = choose("task", values.pop("name", ""), TASKS)
    return name, built(TASKS[name], values, "task")


def _plain(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON holds them."""
    return json.loads(json.dumps(dataclasses.asdict(instance)))


def differences(first: Experiment, second: Experiment) -> list[tuple[str, Any, Any]]:
    """Fields of two experiments that differ: their names (``model.width``), and both values.

    Where files of the same content lie does not count.
    """
    sections = [each.as_dict() for each in (first, second)]
    ours, theirs = (flatten_dict(each, sep=".") for each in sections)
    content, places = f"task.{first.task.hash_field}", set()
    if ours.get(content) == theirs.get(content):
        places = {f"task.{name}" for each in sections for name in fields_of_files(each["task"])}
    return [
        (name, ours.get(name), theirs.get(name))
        for name in sorted((ours.keys() | theirs.keys()) - places)
        if ours.get(name) != theirs.get(name)
    ]


def difference_words(
    first: Experiment,
    second: Experiment,
    places: tuple[str, str] = ("there", "here"),
    ignored: tuple[str, ...] = (),
) -> list[str]:
    """Fields that differ, in words: ``model.width is 32 there and 64 here``.

    Of more than `MOST_WORDS` the last one says how many are left out.

    Args:
        first: Experiment of the first place.
        second: Experiment of the second place.
        places: Names of the places.
        ignored: Beginnings of the fields that may differ.
    """
    found = [
        f"{name} is {one!r} {places[0]} and {other!r} {places[1]}"
        for name, one, other in differences(first, second)
        if not name.startswith(ignored)
    ]
    if len(found) <= MOST_WORDS:
        return found
    kept = found[: MOST_WORDS - 1]
    return [*kept, f"and {len(found) - len(kept)} fields more"]


MOST_WORDS = 5
"""Number of fields that differ which a message can say."""
