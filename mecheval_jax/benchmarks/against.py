"""Times of our training step and interchange grid against those of PyTorch.

The competitors run in turn, for several rounds, on the same machine and documents. A ratio is taken
within a round, so that anything which slows the machine for a while slows both. It is taken against
the variant of PyTorch with the lowest median time.
"""

import functools
from collections.abc import Iterator, Mapping

import jax

from mecheval_jax.benchmarks.measured import Benchmark, Measured, in_turn, ratio
from mecheval_jax.benchmarks.training import steps_on_one_device
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig

OURS = "here"
ROUNDS, STEPS = 7, 40
REST = 0.5
"""Seconds before each turn: threads of OpenMP wait for more work by spinning, for 0.2 seconds as a
rule, and would take cores from whoever comes after PyTorch."""

CASES = (
    ("attention", 64),
    ("hyena", 64),
    ("mamba", 64),
    ("mamba2", 64),
    ("delta_net", 64),
    ("attention", 256),
    ("mamba", 256),
    ("delta_net", 256),
)


def check_torch() -> None:
    """Check that PyTorch is installed.

    Raises:
        UserError: If it is not; the message says how to install it.
    """
    try:
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "--against=torch needs the package torch: pip install torch "
            "(a CPU build has --extra-index-url https://download.pytorch.org/whl/cpu)"
        ) from error


def steps_against_torch(mixer: str, width: int) -> Iterator[Measured]:
    """Times of a training step of a model, in `ROUNDS` rounds of `STEPS` steps."""
    from mecheval_jax.benchmarks import torch_baseline

    task = AssociativeRecall()
    training = TrainingConfig(STEPS, training_batches=3126, steps_per_dispatch=STEPS)
    batches = torch_baseline.draw(task, training)
    model = _model(mixer, width, task)
    params = initialize(model, jax.random.key(0))
    runs = {OURS: steps_on_one_device(model, task, training, STEPS)}
    for variant, compiled in (("eager", False), ("compiled", True)):
        theirs = torch_baseline.load(model, params)
        take = torch_baseline.training_steps(theirs, task, training, batches, compiled)
        runs[variant] = functools.partial(take, STEPS)
    yield from compared(f"{mixer}, width {width}", in_turn(runs, ROUNDS, STEPS, REST))


def grid_against_torch(mixer: str, width: int) -> Iterator[Measured]:
    """Times of a model's interchange grid that restores, over 320 documents, in three rounds."""
    from mecheval_jax.benchmarks import torch_baseline

    task, evaluation = AssociativeRecall(), EvaluationConfig(directions=(RESTORE,))
    batch = task.sample(jax.random.key(0), evaluation.documents, "test")
    model = _model(mixer, width, task)
    params, sites = initialize(model, jax.random.key(0)), default_sites(model)
    grid = functools.partial(compile_grid(model, task, evaluation, sites), params, batch)
    theirs = torch_baseline.load(model, params)
    runs = {
        OURS: grid,
        "eager": torch_baseline.interchange(theirs, task, batch, evaluation, sites),
    }
    yield from compared(f"{mixer}, width {width}", in_turn(runs, 3, rest=REST))


AGAINST_TORCH: dict[str, Benchmark] = {
    f"{what}_{mixer}_{width}": functools.partial(benchmark, mixer, width)
    for what, benchmark, cases in (
        ("step", steps_against_torch, CASES),
        ("grid", grid_against_torch, CASES[:5]),
    )
    for mixer, width in cases
}
"""A part for each model, so that what was measured stands if a later one is broken off."""


def compared(what: str, spent: Mapping[str, tuple[float, ...]]) -> Iterator[Measured]:
    """Times of all, and for each round the ratio of the fastest other variant to ours."""
    found = {name: Measured(what, name, values) for name, values in spent.items()}
    ours = found.pop(OURS)
    best = min(found.values(), key=lambda row: row.median)
    yield from (*found.values(), ours, ratio(best, ours, "ratio to the best"))


def _model(mixer: str, width: int, task: AssociativeRecall) -> ModelConfig:
    return ModelConfig(mixer, 2, width, task.vocabulary_size, 1024, positions=positions_of(mixer))
