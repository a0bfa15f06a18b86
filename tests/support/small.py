"""Experiments that train in seconds, and the programs that the tests start."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from configs.base import base
from mecheval_jax.experiment import Experiment
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.device_programs import RunPrograms
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.preemption import Preemption
from tests.support.compilation import ROOT, settings, trace_quickly

trace_quickly()  # in programs that tests start; for the tests themselves, conftest.py does it

MIXERS = ("attention", "base_conv", "based", "hyena", "mamba")
HYBRIDS = (
    "h3,s4d,mamba2,delta_net",
    "gated_delta_net,gla,retnet,rwkv4,lstm",
    "rwkv7,kda,gated_delta_net_2,gated_delta_product,comba",
    "forgetting_attention,forgetting_attention_pro,gated_attention,path_attention",
    "mamba3,hgrn2,gated_slot_attention,mesa_net",
    "mlstm,log_linear_mamba2",
)
"""The other mixers, several in one model: one program to compile for all of them."""

TASK = {"task.pairs": 2, "task.key_vocabulary": 8, "task.value_vocabulary": 8}
SMALL = TASK | {
    "model.width": 16,
    "model.max_length": 16,
    "training.batch_size": 8,
    "training.steps": 20,
    "training.evaluate_every": 10,
    "training.evaluation_documents": 16,
    "training.checkpoint_every": 10,
    "training.steps_per_dispatch": 5,
    "evaluation.documents": 16,
    "evaluation.resamples": 100,
}
"""What differs from `configs.base`: 2 pairs of 8 keys and values, two layers of width 16."""

ONE_LAYER = {"model.layers": 1, "model.feed_forward": "none"}
"""For tests that look at the loop and not at the model: it compiles in little time."""


def experiment(changes: Mapping[str, Any] | None = None, /, **training: Any) -> Experiment:
    """A small experiment, with some fields changed: paths, or names of training fields.

    ``task`` alone changes the whole section.
    """
    config = base()
    values = SMALL | dict(changes or {}) | {f"training.{n}": v for n, v in training.items()}
    if "task" in values:
        config.task = ConfigDict(values.pop("task"))
        values = {path: v for path, v in values.items() if path not in TASK}
    for path, value in values.items():
        section, name = path.split(".")
        config[section][name] = value
    return Experiment.from_config(config)


def flags(changes: Mapping[str, Any]) -> list[str]:
    """Changes as they are written on a command line."""
    return [f"--config.{path}={value}" for path, value in changes.items()]


def process(arguments: list[str], **environment: str) -> dict[str, Any]:
    """What starts Python at the repository's root, compiling as the tests do."""
    return {
        "args": [sys.executable, *arguments],
        "cwd": ROOT,
        "env": os.environ | environment | settings(environment.get("XLA_FLAGS", "")),
        "text": True,
    }


def heed_signals() -> None:
    """Do what programs of a terminal do on SIGINT and SIGHUP: as the `preexec_fn` of a process.

    Those of a shell's background, or of nohup, ignore them, and so do all that they start.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run such a process to its end."""
    how = process(arguments, **environment)
    return subprocess.run(**how, capture_output=True, timeout=600, check=False)


def assert_same_bits(ours: Any, theirs: Any) -> None:
    """Two trees hold the same numbers, bit for bit."""
    a, b = (jax.tree.leaves_with_path(tree) for tree in (ours, theirs))
    assert [path for path, _ in a] == [path for path, _ in b]
    for (path, left), (_, right) in zip(a, b, strict=True):
        left, right = (_numbers(leaf) for leaf in (left, right))
        assert left.dtype == right.dtype, jax.tree_util.keystr(path)
        assert left.tobytes() == right.tobytes(), jax.tree_util.keystr(path)


def _numbers(leaf: Any) -> np.ndarray:
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def programs(experiment: Experiment, mesh: Mesh | None = None) -> RunPrograms:
    """What a run does on a mesh; on one device if None."""
    ensemble = Ensemble(experiment.model, experiment.task, (experiment.training,))
    return RunPrograms(ensemble, make_mesh(jax.devices()[:1]) if mesh is None else mesh)


class Nowhere(Checkpoints):
    """Checkpoints that are kept nowhere."""

    def __init__(self):
        pass

    def steps(self):
        return []

    def save(self, step, tree):
        pass

    def close(self):
        pass


class PreemptionAt(Preemption):
    """A preemption that is requested at so many stops, counted from 1."""

    def __init__(self, stop: int):
        self._left = stop

    def requested(self):
        self._left -= 1
        return self._left == 0


class Recorder:
    """Callbacks that keep everything."""

    def __init__(self):
        self.rows, self.messages = [], []

    def record(self, values):
        self.rows.append(dict(values))

    def advance(self, standing):
        self.standing = standing

    def say(self, message):
        self.messages.append(message)
