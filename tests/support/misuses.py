"""Misuses of the Python interface, each with words that its error has.

``python -m tests.support.misuses WORKDIR`` tries each in a process in which, as in a user's,
nothing checks annotations, and prints what happened as JSON.
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mecheval_jax as me
from mecheval_jax import interventions as iv
from mecheval_jax.models.decoding import greedy, state_bytes
from tests.support import small
from tests.support.misused_files import FILES
from tests.support.misused_interventions import INTERVENTIONS, SITE


@dataclasses.dataclass
class World:
    """A run that was trained for a few steps, and what a user makes of it."""

    folder: pathlib.Path

    @functools.cached_property
    def run(self) -> me.Run:
        return me.load(me.train(self.experiment, self.folder / "run").path)

    @functools.cached_property
    def experiment(self) -> me.Experiment:
        return small.experiment({"model.mixer": "attention,gla"}, steps=2, checkpoint_every=2)

    @functools.cached_property
    def batch(self) -> me.Batch:
        return self.run.documents(8)

    @functools.cached_property
    def clean(self) -> dict[str, Any]:
        return me.capture(*self.model, self.batch)

    @property
    def model(self) -> tuple[Any, Any]:
        return self.run.model, self.run.params

    @functools.cached_property
    def value(self) -> Any:
        return me.locate(self.batch, "value")

    @property
    def patch(self) -> dict[str, Any]:
        return me.interchange(self.clean, [SITE], self.value)

    def exchanged(self, projection: Any) -> Any:
        return iv.interchange_subspace(self.clean, [SITE], projection)

    def ran(self, patch: Any, batch: Any = None) -> Any:
        return me.run(*self.model, self.batch if batch is None else batch, patch)

    def config(self, section: str, **changes: Any) -> me.Experiment:
        values = self.experiment.as_dict()
        return me.Experiment.from_config(values | {section: values[section] | changes})


class Mixer:
    """No module of Flax."""


MISUSES: dict[str, tuple[Callable[[World], Any], str]] = {
    # runs and folders
    "load: no folder": (lambda w: me.load(w.folder / "nothing"), "holds no run"),
    "load: a file": (lambda w: me.load(__file__), "misuses.py"),
    "load: a number": (lambda w: me.load(3), "3, of type int"),
    "load: None": (lambda w: me.load(None), "the path of a folder"),
    "load: a step that is not there": (lambda w: me.load(w.run.folder.path, 77), "'77'"),
    "load: a step that is a text": (lambda w: me.load(w.run.folder.path, "last"), "'last'"),
    "train: a config in place of an experiment": (
        lambda w: me.train(w.experiment.as_dict(), w.folder / "new"),
        "Experiment.from_config",
    ),
    "train: into the folder of another run": (
        lambda w: me.train(w.config("training", steps=3), w.run.folder.path),
        "training.steps is",
    ),
    "train: a folder that is a file": (lambda w: me.train(w.experiment, __file__), "is a file"),
    "train: no folder": (lambda w: me.train(w.experiment, None), "None"),
    "train: unknown writer": (
        lambda w: me.train(w.experiment, w.folder / "new", writers=["tensorbord"]),
        "did you mean 'tensorboard'?",
    ),
    "train: writers that are a text": (
        lambda w: me.train(w.experiment, w.folder / "new", writers="wandb"),
        "'wandb'",
    ),
    "train: a mesh that is a text": (
        lambda w: me.train(w.experiment, w.folder / "new", "1,1,1"),
        "make_mesh",
    ),
    "intervene: unknown site": (
        lambda w: me.intervene(w.run.folder.path, ["block_9/block_input"]),
        "unknown site 'block_9/block_input'",
    ),
    "intervene: unknown field": (
        lambda w: me.intervene(w.run.folder.path, document=3),
        "did you mean 'documents'?",
    ),
    "intervene: roles that are a text": (
        lambda w: me.intervene(w.run.folder.path, roles="value"),
        "'value'",
    ),
    "intervene: no documents": (lambda w: me.intervene(w.run.folder.path, documents=0), "is 0"),
    "intervene: steps that are a text": (
        lambda w: me.intervene(w.run.folder.path, steps="two"),
        "'two'",
    ),
    "intervene: a step that is not there": (
        lambda w: me.intervene(w.run.folder.path, steps=7),
        "unknown step '7'",
    ),
    "intervene: a run in place of its folder": (lambda w: me.intervene(w.run), "folder"),
    "analyze: unknown analysis": (
        lambda w: me.analyze(w.run.folder.path, ["probe"]),
        "did you mean 'probes'?",
    ),
    "analyze: an analysis that is a text": (
        lambda w: me.analyze(w.run.folder.path, "lens", sites="block_9/x"),
        "block_9/x",
    ),
    "analyze: unknown setting": (
        lambda w: me.analyze(w.run.folder.path, ["probes"], settings=["probes.rige=1"]),
        "did you mean 'ridge'?",
    ),
    "analyze: a setting that is a text": (
        lambda w: me.analyze(w.run.folder.path, ["probes"], settings="probes.ridge=0"),
        "ridge is 0",
    ),
    # a run's documents
    "documents: none": (lambda w: w.run.documents(0), "is 0"),
    "documents: a negative number": (lambda w: w.run.documents(-3), "is -3"),
    "documents: half a document": (lambda w: w.run.documents(1.5), "is 1.5"),
    "documents: unknown split": (lambda w: w.run.documents(4, "valid"), "'valid'"),
    "corrupt: unknown role": (lambda w: w.run.corrupt(w.batch, "kye"), "did you mean 'key'?"),
    "corrupt: a role without a class": (lambda w: w.run.corrupt(w.batch, "divider"), "divider"),
    "corrupt: tokens": (lambda w: w.run.corrupt(w.batch.tokens), "Run.documents"),
    "corrupt: a seed that is none": (lambda w: w.run.corrupt(w.batch, seed="x"), "seed is 'x'"),
    # experiments
    "experiment: no config": (lambda w: me.Experiment.from_config(3), "3 is no config"),
    "experiment: a missing section": (lambda w: me.Experiment.from_config({}), "no section 'task'"),
    "experiment: unknown task": (lambda w: w.config("task", name="recal"), "'recal'"),
    "experiment: unknown mixer": (lambda w: w.config("model", mixer="mmaba"), "'mamba'"),
    "experiment: a mixer that is a class": (lambda w: w.config("model", mixer=Mixer), "a text"),
    "experiment: a mixer that is no module": (
        lambda w: w.config("model", mixer=f"{__spec__.name}:Mixer"),
        "Mixer",
    ),
    "experiment: too few tokens": (lambda w: w.config("model", max_length=3), "max_length"),
    "experiment: more documents than there are": (
        lambda w: w.config("evaluation", documents=2**31),
        "evaluation.documents",
    ),
    "model config: no layers": (lambda w: me.ModelConfig("mamba", 0, 16, 8, 8), "layers is 0"),
    "model config: half a layer": (lambda w: me.ModelConfig("mamba", 1.5, 16, 8, 8), "is 1.5"),
    "model config: unknown option": (
        lambda w: me.ModelConfig("mamba", 1, 16, 8, 8, mixer_options={"d_stat": 4}),
        "d_stat",
    ),
    "language model: a config that is none": (
        lambda w: me.LanguageModel(w.experiment.as_dict()["model"]).init(
            jax.random.key(0), w.batch.tokens
        ),
        "ModelConfig",
    ),
    "task: unknown split": (lambda w: w.run.task.sample(jax.random.key(0), 4, "valid"), "'valid'"),
    "task: no documents": (
        lambda w: w.run.task.sample(jax.random.key(0), 0, "test"),
        "batch_size is 0",
    ),
    "task: half a document": (
        lambda w: w.run.task.sample(jax.random.key(0), 1.5, "test"),
        "batch_size is 1.5",
    ),
    "site paths: a model in place of its config": (
        lambda w: me.site_paths(w.run.model),
        "ModelConfig",
    ),
    # positions
    "locate: unknown role": (lambda w: me.locate(w.batch, "valeu"), "did you mean 'value'?"),
    "locate: nowhere": (lambda w: me.locate(w.batch), "no positions"),
    "locate: beyond the document": (lambda w: me.locate(w.batch, 99), "position 99"),
    "locate: half a position": (lambda w: me.locate(w.batch, 1.5), "1.5"),
    "locate: a list of roles": (
        lambda w: me.locate(w.batch, ["key", "value"]),
        "['key', 'value'], of type list",
    ),
    "locate: unknown query": (lambda w: me.locate(w.batch, "key", query=7), "query 7"),
    "locate: tokens": (lambda w: me.locate(w.batch.tokens, "key"), "Run.documents"),
    "locate: positions of other documents": (
        lambda w: me.locate(w.batch, np.zeros(3, int)),
        "3 positions for 8 documents",
    ),
    "locate: positions that are no numbers": (
        lambda w: me.locate(w.batch, np.zeros(8)),
        "float64",
    ),
    "locate: a mask of other documents": (
        lambda w: me.locate(w.batch, np.ones((2, 2), bool)),
        "the mask is [2, 2]",
    ),
    # activations
    "capture: unknown site": (
        lambda w: me.capture(*w.model, w.batch, ["block_1/block_inptu"]),
        "did you mean 'block_1/block_input'?",
    ),
    "capture: no sites": (lambda w: me.capture(*w.model, w.batch, []), "no sites"),
    "capture: a site of another mixer": (
        lambda w: me.capture(*w.model, w.batch, ["block_1/mixer/pattern"]),
        "block_1/mixer/pattern",
    ),
    "capture: tokens of one document": (
        lambda w: me.capture(*w.model, w.batch.tokens[0]),
        "[documents, length]",
    ),
    "capture: tokens that are texts": (lambda w: me.capture(*w.model, ["a b"]), "tokens"),
    "capture: tokens beyond the vocabulary": (
        lambda w: me.capture(*w.model, w.batch.tokens + 10_000),
        "vocabulary",
    ),
    "capture: tokens that are no whole numbers": (
        lambda w: me.capture(*w.model, w.batch.tokens * 1.0),
        "float32",
    ),
    "capture: documents that are too long": (
        lambda w: me.capture(*w.model, jnp.ones((2, 99), int)),
        "max_length is 16",
    ),
    "capture: documents without tokens": (
        lambda w: me.capture(*w.model, jnp.ones((2, 0), int)),
        "the documents are empty",
    ),
    "greedy: a count that is no whole number": (
        lambda w: greedy(*w.model, w.batch.tokens[:, :2], 3.0),
        "count is 3.0: it takes a whole number",
    ),
    "state_bytes: half a token": (
        lambda w: state_bytes(w.run.model.config, 1.5),
        "max_length is 1.5: it takes a whole number",
    ),
    "capture: parameters of another shape": (
        lambda w: me.capture(w.run.model, jax.tree.map(lambda x: x[:8], w.run.params), w.batch),
        "not those of this model",
    ),
    "capture: parameters in their collection": (
        lambda w: me.capture(w.run.model, {"params": w.run.params}, w.batch),
        "not those of this model",
    ),
    "capture: no parameters": (lambda w: me.capture(w.run.model, {}, w.batch), "param"),
    # answers
    "answers: logits of all positions": (
        lambda w: me.answer_probability(me.run(*w.model, w.batch.tokens), w.batch),
        "queries",
    ),
    "answers: of other documents": (
        lambda w: me.answer_probability(w.ran(None), w.run.documents(3)),
        "documents",
    ),
    **INTERVENTIONS,
    **FILES,
}


def tried(world: World, misuse: Callable[[World], Any]) -> tuple[str, str]:
    """Name and text of the error that a misuse raises; empty if it raises none."""
    try:
        misuse(world)
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""


if __name__ == "__main__":
    place = World(pathlib.Path(sys.argv[1]))
    found = {name: tried(place, misuse) for name, (misuse, _) in MISUSES.items()}
    print(json.dumps(found))
