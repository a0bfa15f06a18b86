"""Benchmarks of attribution by gradients, beside the exact grid, and of circuits."""

import functools
import time
from collections.abc import Iterator

import jax

from mecheval_jax.benchmarks.grids import compiled_anew
from mecheval_jax.benchmarks.measured import PLAIN, Measured, one, times
from mecheval_jax.evaluation.analyses import ANALYSES
from mecheval_jax.evaluation.config import AnalysesConfig, EvaluationConfig, GradientsConfig
from mecheval_jax.evaluation.patching import attribution_patching as gradients
from mecheval_jax.evaluation.patching.grid import compile_grid
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions import site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

STEPS = 8


def circuits_with_ports() -> Iterator[Measured]:
    """Times of the whole analysis ``circuits`` with its defaults, compilation included.

    These are the scores of all edges at their ports by two methods, under two corruptions, and the
    answers in circuits of every size, of the best and of random edges.
    """
    task, evaluation = AssociativeRecall(), EvaluationConfig()
    batch = task.sample(jax.random.key(0), evaluation.documents, "test")
    for mixer in ("attention", "based", "mamba"):
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        subject = Subject(LanguageModel(model), params, task, batch, evaluation)
        start = time.perf_counter()
        with compiled_anew():
            tables = ANALYSES["circuits"](subject, AnalysesConfig(), None)
        yield one(mixer, "time", time.perf_counter() - start, "s")
        edges = {(row["sender"], row["reader"], row["port"]) for row in tables["edges"]}
        yield one(mixer, "edges", len(edges), PLAIN)


def gradient_attribution() -> Iterator[Measured]:
    """Times of attribution by gradients, and of the interchange grid that it estimates."""
    task, evaluation = AssociativeRecall(), EvaluationConfig()
    batch = task.sample(jax.random.key(0), evaluation.documents, "test")
    cases = len(evaluation.roles) * len(evaluation.corruptions) * len(evaluation.directions)
    for mixer in ("attention", "mamba"):
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        sites = site_paths(model)
        subject = Subject(LanguageModel(model), params, task, batch, evaluation)
        programs = {
            method: gradients.compile_gradients(
                subject, sites, method, GradientsConfig(steps=STEPS)
            )
            for method in gradients.METHODS
        }
        programs["exact grid"] = compile_grid(model, task, evaluation, sites)
        for name, program in programs.items():
            with compiled_anew():
                start = time.perf_counter()
                compiled = program.lower(params, batch).compile()
                compiling = time.perf_counter() - start
            steps = f", {STEPS} steps" if name == "integrated_gradients" else ""
            label = f"{mixer}, {name.replace('_', ' ')}{steps}"
            yield one(label, "cells", len(sites) * cases, PLAIN)
            yield times(label, "time", functools.partial(compiled, params, batch), repeats=3)
            yield one(label, "compilation", compiling, "s")
