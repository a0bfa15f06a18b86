"""A sweep of 64 members: ``python -m tests.support.killed_sweep WORKDIR`` runs it or resumes it."""

import sys

from configs import grids
from mecheval_jax import command_line
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.sweeps.run import run_sweep
from tests.support import small

BASE = small.experiment(
    small.ONE_LAYER | {"evaluation.directions": ("restore",), "evaluation.roles": ("key",)},
    steps=600,
    steps_per_dispatch=20,
    evaluate_every=100,
    checkpoint_every=100,
    target_accuracy=0.9,
).as_dict()
CHANGES = grids.product(
    grids.axis("training.learning_rate", (1e12, 1e-3, 3e-3, 1e-2)),
    grids.axis("training.weight_decay", (0.0, 0.1)),
    grids.seeds(8),
)

if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    run_sweep(plan(BASE, CHANGES), sys.argv[1], Options(interventions="verdict"))
