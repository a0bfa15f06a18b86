"""A sweep that trains in seconds."""

from configs import grids
from mecheval_jax.sweeps import run as sweeps
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import plan
from tests.support import small

SHAPE = small.ONE_LAYER | {"evaluation.directions": ("restore",), "evaluation.roles": ("key",)}


BASE = small.experiment(
    SHAPE,
    steps=20,
    checkpoint_every=10,
    evaluate_every=10,
    warmup_fraction=0.5,
).as_dict()


CHANGES = grids.chain(
    grids.product(
        grids.axis("training.learning_rate", (1e-2, 1e-3)),
        grids.seeds(2),
    ),
    [{"training.learning_rate": 1e12}],
    [{"model.width": 8, "training.steps": 10}],
)
"""Members 0 to 4 of one shape, the last of which diverges, and 5 of another."""


OPTIONS = Options(strategy="vmap")


def run(workdir, changes=CHANGES, options=OPTIONS, **arguments):
    return sweeps.run_sweep(plan(BASE, changes), workdir, options, **arguments)


def member(folder, number):
    (path,) = folder.path.glob(f"groups/*/members/{number:04d}")
    return path
