"""Mechanistic evaluation of sequence models: train them, cut into them, say how they recall.

    import mecheval_jax as me

    trained = me.load("runs/based")
    batch = trained.documents()
    clean = me.capture(trained.model, trained.params, batch)

All that a user needs has its name here; docs/api.md describes each. A bare import loads nothing:
a name is imported from its home when it is first used (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # What a type checker and an editor see; a test compares it with `HOMES`.
    from mecheval_jax.experiment import Experiment as Experiment
    from mecheval_jax.interventions import capture as capture
    from mecheval_jax.interventions import compose as compose
    from mecheval_jax.interventions import interchange as interchange
    from mecheval_jax.interventions import locate as locate
    from mecheval_jax.interventions import merge_disjoint as merge_disjoint
    from mecheval_jax.interventions import run as run
    from mecheval_jax.interventions import site_paths as site_paths
    from mecheval_jax.interventions import validate as validate
    from mecheval_jax.models.language_model import LanguageModel as LanguageModel
    from mecheval_jax.models.language_model import ModelConfig as ModelConfig
    from mecheval_jax.runs import Run as Run
    from mecheval_jax.runs import analyze as analyze
    from mecheval_jax.runs import intervene as intervene
    from mecheval_jax.runs import load as load
    from mecheval_jax.runs import train as train
    from mecheval_jax.tasks import TASKS as TASKS
    from mecheval_jax.tasks.base import Batch as Batch
    from mecheval_jax.tasks.base import Task as Task
    from mecheval_jax.tasks.scoring import answer_probability as answer_probability

__version__ = "0.5.0"

HOMES = {
    # a run from end to end
    "train": "runs",
    "load": "runs",
    "intervene": "runs",
    "analyze": "runs",
    "Run": "runs",
    # what is trained on what
    "Experiment": "experiment",
    "LanguageModel": "models.language_model",
    "ModelConfig": "models.language_model",
    "Task": "tasks.base",
    "Batch": "tasks.base",
    "TASKS": "tasks",
    # looking into a model and cutting into it
    "site_paths": "interventions",
    "locate": "interventions",
    "capture": "interventions",
    "interchange": "interventions",
    "compose": "interventions",
    "merge_disjoint": "interventions",
    "validate": "interventions",
    "run": "interventions",
    "answer_probability": "tasks.scoring",
}
"""Public names, each with the module of the package that defines it."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return [*globals(), *HOMES]
