"""The interchange grid."""

import jax

from mecheval_jax.benchmarks.timing import seconds
from mecheval_jax.evaluation import interchange
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.associative_recall import AssociativeRecall


def grids() -> None:
    """Time of the interchange grid after compilation."""
    task = AssociativeRecall()
    batch = task.sample(jax.random.key(0), 320, "test")
    print(
        f"\n{'interchange grid, 320 documents':34}{'patched runs':>14}{'s':>8}{'plain run, s':>14}"
    )
    for mixer in ("attention", "based", "hyena", "mamba"):
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        module = LanguageModel(model)
        plain = jax.jit(lambda p, b, m=module: m.apply({"params": p}, b.tokens, b.query_positions))
        one = seconds(lambda p=params, run=plain: run(p, batch))
        for directions in (("restore",), ("restore", "damage")):
            evaluation = EvaluationConfig(directions=directions)
            sites = interchange.default_sites(model)
            positions = interchange.role_positions(task, batch, evaluation.roles)
            program = interchange.compile_grid(model, task, evaluation, sites)
            spent = seconds(lambda p=params, x=positions, run=program: run(p, batch, x), repeats=3)
            runs = len(sites) * len(evaluation.roles) * len(evaluation.corruptions)
            runs *= len(directions)
            name = f"{mixer} {'+'.join(directions)}"
            print(f"{name:34}{runs:14}{spent:8.2f}{one:14.3f}")
