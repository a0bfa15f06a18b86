"""Benchmarks of small models whose programs are traced, and neither compiled nor run.

What a benchmark measures is no test's business. That it still calls the package as the package is,
and finds something of everything that it names, shows without a second of computing.
"""

import types

import jax
import numpy as np
import pytest

from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

SECONDS = 2e-3
"""What every call takes."""


def _times(what, quantity, call, repeats=5, per=1):
    assert repeats > 0
    jax.eval_shape(call)
    return Measured(what, quantity, (SECONDS / per,))


def _measured_in_turn(what, runs, rounds, per=1):
    return {name: _times(what, name, call, rounds, per) for name, call in runs.items()}


def _model(mixer, layers, width, vocabulary, length, **options):
    del layers, width
    return ModelConfig(mixer, 1, 16, vocabulary, length, feed_forward="none", **options)


def _parameters(config, key):
    shapes = jax.eval_shape(lambda: initialize(config, key))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


class _Compiled:
    """A program that is not there."""

    def __call__(self, *arguments):
        return None

    def memory_analysis(self):
        return types.SimpleNamespace(temp_size_in_bytes=8_000_000)


STAND_INS = {
    "times": _times,
    "measured_in_turn": _measured_in_turn,
    "ModelConfig": _model,
    "initialize": _parameters,
    "AssociativeRecall": lambda **_: AssociativeRecall(
        pairs=2, key_vocabulary=8, value_vocabulary=8
    ),
    "EvaluationConfig": lambda **options: EvaluationConfig(**options | {"documents": 4}),
}


@pytest.fixture
def rows(monkeypatch):
    """Runs a benchmark of a module on stand-ins; returns its medians by what and by quantity."""

    def found(module, benchmark, *arguments, **changes):
        there = {name: stand_in for name, stand_in in STAND_INS.items() if hasattr(module, name)}
        for name, value in (there | changes).items():
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: _Compiled())
        table: dict[str, dict[str, float]] = {}
        for row in benchmark(*arguments):
            quantities = table.setdefault(row.what, {})
            assert row.quantity not in quantities
            quantities[row.quantity] = row.median
        return table

    return found
