"""Benchmarks of an accelerator: what its speed is good for, and which backend is fast on it.

They are parts of ``launch.benchmark --suite=device``. Each is kept as it ends, so that a
measurement that was broken off goes on with the next. Shares are of the device's own rate of
float32 products, measured in the same run.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from mecheval_jax.benchmarks.grids import grids
from mecheval_jax.benchmarks.measured import PERCENT, Benchmark, Measured, one, times
from mecheval_jax.benchmarks.models import FIXED_STATE
from mecheval_jax.benchmarks.training import steps_on_one_device
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows
from mecheval_jax.evaluation.cost.timing import matrix_rate
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.ops.dplr import Update, dplr
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.selective_scan import selective_scan
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.members import Ensemble

WIDTHS = (64, 256, 1024)
LENGTHS = (37, 512, 4096)
MEMBERS = (1, 4, 16, 64, 256)
COMPARED = ("attention", "based", "mamba", "mamba2", "gated_delta_net")
"""Architectures of the parts that do not measure all."""

RATE = "tok/s"


def check_accelerator() -> None:
    """Check that there is an accelerator.

    Raises:
        UserError: If there is none.
    """
    if jax.default_backend() == "cpu":
        raise UserError(
            "--suite=device needs an accelerator, and jax has none here: BUILD.md says how to "
            "install it for one; without --suite the CPU is measured"
        )


def steps_of_width(width: int) -> Iterator[Measured]:
    """Training steps of every architecture, of two layers, over the lengths of context."""
    task, rate = AssociativeRecall(), matrix_rate()
    models = {
        name: ModelConfig(name, 2, width, task.vocabulary_size, 1, mixer_options=_options(name))
        for name in ARCHITECTURES
    }
    how = CostOptions(LENGTHS, ("training",), tokens=32 * 512, repeats=5, seconds=1.0)
    for row in cost_rows(models, how):
        what = f"{row['model']}, {row['length']:,} tokens"
        if row["seconds"] is None:
            continue  # it needs more memory than there is
        speed = tuple(
            row["tokens_per_second"] * row["seconds"] / row[end]
            for end in ("seconds", "low", "high")
        )
        yield Measured(what, "trained", speed, RATE)
        share = row["flops_per_token"] * row["tokens_per_second"] / rate
        yield one(what, "share of the matrix rate", 100 * share, PERCENT)


def backends() -> Iterator[Measured]:
    """Gradients of the recurrences by each of their backends, batch 8, 64 channels."""
    for length in LENGTHS:
        heads = jnp.full((8, length, 4, 64), 0.1)
        channels, directions = jnp.full((8, length, 64), 0.1), jnp.full((8, length, 16), 0.1)
        writes = jnp.full((8, length, 64, 16), 0.1)
        update = Update(heads, heads, -heads[..., :1], x=heads)
        scan = (channels, channels, -jnp.ones((64, 16)), directions, directions)
        every = ("sequential", "associative", "chunked")
        cases: dict[str, tuple[Callable, Any, tuple[str, ...]]] = {
            "recurrence of vectors": (linear_recurrence, (writes, writes), every),
            "selective scan": (selective_scan, scan, (*every, "pallas")),
            "delta rule": (dplr, (heads, update), ("sequential", "chunked")),
        }
        for name, (op, arguments, names) in cases.items():
            for backend in names:
                call = functools.partial(_gradient_of(op, backend), arguments)
                yield times(f"{name}, {length:,} tokens", backend, call, repeats=10)


def _gradient_of(op: Callable, backend: str) -> Callable:
    """The compiled gradient of the sum of squares of an operation's output."""
    return jax.jit(jax.grad(lambda arguments: (op(*arguments, backend=backend) ** 2).sum()))


def ensembles() -> Iterator[Measured]:
    """Steps of ensembles of runs of width 32, computed at once."""
    task = AssociativeRecall(pairs=8, key_vocabulary=128, value_vocabulary=128)
    for mixer in COMPARED:
        model = ModelConfig(mixer, 2, 32, task.vocabulary_size, 64, mixer_options=_options(mixer))
        for count in MEMBERS:
            training = TrainingConfig(steps=2**30, batch_size=64)
            runs = tuple(dataclasses.replace(training, seed=seed) for seed in range(count))
            programs = MemberPrograms(Ensemble(model, task, runs), member_mesh())
            spent = programs.seconds_of(Strategy("vmap", count)) / programs.measured_steps
            yield one(mixer, f"{count} members, a step of one", spent / count, "s")


def precisions() -> Iterator[Measured]:
    """Training steps in float32, with products in TF32, and in bfloat16; width 256."""
    task, training = AssociativeRecall(), TrainingConfig(2**30, steps_per_dispatch=20)
    for mixer in COMPARED:
        for name, dtype, products in (
            ("float32", "float32", "float32"),
            ("TF32", "float32", "tensorfloat32"),
            ("bfloat16", "bfloat16", "default"),
        ):
            options = {"dtype": dtype, "mixer_options": _options(mixer)}
            model = ModelConfig(mixer, 2, 256, task.vocabulary_size, 64, **options)
            with jax.default_matmul_precision(products):
                call = steps_on_one_device(model, task, training, 20)
                yield times(mixer, name, call, repeats=3, per=20)


def documents() -> Iterator[Measured]:
    """Drawing documents on the device, 8,192 at once."""
    for name, task in (
        ("AR, 16 pairs", AssociativeRecall()),
        ("MQAR, 256 tokens", MultiQueryRecall()),
    ):
        draw = jax.jit(lambda key, task=task: jax.tree.leaves(task.sample(key, 8192, "train")))
        call = functools.partial(draw, jax.random.key(0))
        yield times(name, "a document", call, repeats=10, per=8192)


def _options(mixer: str) -> dict[str, Any]:
    """Options that keep the size of an architecture's state fixed."""
    return dict(FIXED_STATE.get(mixer, {}))


DEVICE_PARTS: dict[str, Benchmark] = {
    **{f"step_{width}": functools.partial(steps_of_width, width) for width in WIDTHS},
    "backends": backends,
    "ensembles": ensembles,
    "precision": precisions,
    "grid": grids,
    "documents": documents,
}
"""The parts of ``--suite=device``."""
