"""Benchmark of the interchange grid."""

import functools
import resource
from collections.abc import Iterator

import jax

from mecheval_jax.benchmarks.measured import PLAIN, Measured, one, times
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

MIXERS = ("attention", "based", "hyena", "mamba")


def grids() -> Iterator[Measured]:
    """Times of the interchange grid over 320 documents after compilation, and the peak memory."""
    task = AssociativeRecall()
    batch = task.sample(jax.random.key(0), 320, "test")
    for mixer in MIXERS:
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        module = LanguageModel(model)
        plain = jax.jit(lambda p, b, m=module: m.apply({"params": p}, b.tokens, b.query_positions))
        yield times(f"{mixer}, one run", "time", functools.partial(plain, params, batch))
        components, everything = default_sites(model), site_paths(model)
        both = ("restore", "damage")
        for what, sites, directions in (
            ("restore", components, ("restore",)),
            ("restore and damage", components, both),
            ("both, all sites", everything, both),
        ):
            name, evaluation = f"{mixer}, {what}", EvaluationConfig(directions=directions)
            program = compile_grid(model, task, evaluation, sites)
            runs = len(sites) * len(evaluation.roles) * len(evaluation.corruptions)
            yield one(name, "patched runs", runs * len(directions), PLAIN)
            yield times(name, "time", functools.partial(program, params, batch), repeats=3)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            yield one(name, "peak memory of the process", peak, "B")
