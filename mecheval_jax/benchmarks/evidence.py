"""Benchmark of attribution by gradients, beside the exact interchange grid."""

import time

import jax

from mecheval_jax.evaluation.config import EvaluationConfig, GradientsConfig
from mecheval_jax.evaluation.cost.timing import seconds
from mecheval_jax.evaluation.patching import attribution_patching as gradients
from mecheval_jax.evaluation.patching.grid import compile_grid
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions import site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

STEPS = 8


def gradient_attribution() -> None:
    """Print times of attribution by gradient and of the interchange grid that it estimates."""
    task, evaluation = AssociativeRecall(), EvaluationConfig()
    batch = task.sample(jax.random.key(0), evaluation.documents, "test")
    cases = len(evaluation.roles) * len(evaluation.corruptions) * len(evaluation.directions)
    print(f"\n{'attribution of all sites, 320 documents':42}{'cells':>7}{'s':>8}{'compile, s':>12}")
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
            start = time.perf_counter()
            compiled = program.lower(params, batch).compile()
            compiling = time.perf_counter() - start
            spent = seconds(lambda p=params, run=compiled: run(p, batch), repeats=3)
            steps = f", {STEPS} steps" if name == "integrated_gradients" else ""
            label = f"{mixer} {name.replace('_', ' ')}{steps}"
            print(f"{label:42}{len(sites) * cases:7}{spent:8.2f}{compiling:12.1f}")
