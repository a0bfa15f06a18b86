"""Benchmark of the interchange grid."""

import contextlib
import functools
import time
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from mecheval_jax.benchmarks.measured import PLAIN, Measured, one, temporary_bytes, times
from mecheval_jax.evaluation.config import DIRECTIONS, RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

MIXERS = ("attention", "based", "hyena", "mamba")


def grids() -> Iterator[Measured]:
    """Times of the interchange grid over 320 documents, of its compilation, and its memory."""
    task = AssociativeRecall()
    batch = task.sample(jax.random.key(0), 320, "test")
    for mixer in MIXERS:
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        module = LanguageModel(model)
        plain = jax.jit(lambda p, b, m=module: m.apply({"params": p}, b.tokens, b.query_positions))
        yield times(f"{mixer}, one run", "time", functools.partial(plain, params, batch))
        components, everything = default_sites(model), site_paths(model)
        for what, sites, directions in (
            ("restore", components, (RESTORE,)),
            ("restore and damage", components, DIRECTIONS),
            ("both, all sites", everything, DIRECTIONS),
        ):
            name, evaluation = f"{mixer}, {what}", EvaluationConfig(directions=directions)
            grid = compile_grid(model, task, evaluation, sites)
            leaves, tree = jax.tree.flatten((params, batch))
            program = jax.jit(lambda *leaves, g=grid, t=tree: g(*t.unflatten(leaves)))
            runs = len(sites) * len(evaluation.roles) * len(evaluation.corruptions)
            yield one(name, "patched runs", runs * len(directions), PLAIN)
            start = time.perf_counter()
            with compiled_anew():
                compiled = program.lower(*leaves).compile()
            yield one(name, "compilation", time.perf_counter() - start, "s")
            yield times(name, "time", functools.partial(compiled, *leaves), repeats=3)
            yield one(name, "temporary memory", temporary_bytes(compiled), "B")


@contextlib.contextmanager
def compiled_anew() -> Iterator[None]:
    """Compile without what earlier programs have left in the cache on the disk."""
    before = jax.config.jax_enable_compilation_cache
    try:
        jax.config.update("jax_enable_compilation_cache", False)
        reset_cache()  # jax remembers whether the cache is in use until it is reset.
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        reset_cache()
