"""Experiments that train in seconds, and the programs that the tests start."""

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from configs.base import base
from mecheval_jax import command_line
from mecheval_jax.experiment import Experiment, from_config

ROOT = pathlib.Path(__file__).parent.parent
CACHE = ROOT / ".pytest_cache" / "mecheval_jax"
"""Compiled programs, shared by the tests, by what they start, and by the next session."""

MIXERS = ("attention", "base_conv", "based", "hyena", "mamba")

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


def experiment(changes: dict[str, Any] | None = None, /, **training: Any) -> Experiment:
    """A small experiment, with some fields changed: paths, or names of training fields."""
    config = base()
    values = SMALL | (changes or {}) | {f"training.{name}": v for name, v in training.items()}
    for path, value in values.items():
        section, name = path.split(".")
        config[section][name] = value
    return from_config(config)


def flags(changes: dict[str, Any]) -> list[str]:
    """Changes as they are written on a command line."""
    return [f"--config.{path}={value}" for path, value in changes.items()]


@contextlib.contextmanager
def cached_compilation() -> Iterator[None]:
    """Programs compiled inside are kept in `CACHE` and taken from there."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.update, {"MECHEVAL_JAX_CACHE": _present()})
        os.environ["MECHEVAL_JAX_CACHE"] = str(CACHE)
        jax_cache.reset_cache()  # jax looks only once whether there is a cache
        command_line.set_up_compilation_cache()
        yield
        for name, value in before.items():
            jax.config.update(name, value)
        jax_cache.reset_cache()


def _present() -> str:
    return os.environ.get("MECHEVAL_JAX_CACHE", "")


def start(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python from the repository's root, with `CACHE` for what it compiles."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"MECHEVAL_JAX_CACHE": str(CACHE)} | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
