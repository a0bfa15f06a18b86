"""Benchmark of the interchange grid."""

import resource

import jax

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.cost.timing import seconds
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

MIXERS = ("attention", "based", "hyena", "mamba")


def grids() -> None:
    """Print times of the interchange grid after compilation, and the process's peak memory."""
    task = AssociativeRecall()
    batch = task.sample(jax.random.key(0), 320, "test")
    print(f"\n{'interchange grid, 320 documents':34}{'patched runs':>14}{'s':>8}", end="")
    print(f"{'plain run, s':>14}{'peak, GB':>10}")
    for mixer in MIXERS:
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        module = LanguageModel(model)
        plain = jax.jit(lambda p, b, m=module: m.apply({"params": p}, b.tokens, b.query_positions))
        one = seconds(lambda p=params, run=plain: run(p, batch))
        components, everything = default_sites(model), site_paths(model)
        both = ("restore", "damage")
        for what, sites, directions in (
            ("restore", components, ("restore",)),
            ("restore+damage", components, both),
            ("restore+damage, all sites", everything, both),
        ):
            runs, spent = _grid(model, params, task, batch, sites, directions)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"{f'{mixer} {what}':34}{runs:14}{spent:8.2f}{one:14.3f}{peak:10.2f}")


def _grid(
    model: ModelConfig,
    params: PyTree,
    task: AssociativeRecall,
    batch: Batch,
    sites: tuple[str, ...],
    directions: tuple[str, ...],
) -> tuple[int, float]:
    """Number of patched runs of a grid, and its time in seconds after compilation."""
    evaluation = EvaluationConfig(directions=directions)
    program = compile_grid(model, task, evaluation, sites)
    spent = seconds(lambda: program(params, batch), repeats=3)
    cells = len(evaluation.roles) * len(evaluation.corruptions) * len(directions)
    return len(sites) * cells, spent
