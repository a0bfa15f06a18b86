"""Times of our training step and interchange grid against those of PyTorch.

The competitors run in turn, for several rounds, on the same machine and documents, each in a
process of its own (`benchmarks.competitors`). A ratio is taken within a round, so that anything
which slows the machine for a while slows both. It is taken against the variant of PyTorch with the
lowest median time.
"""

import functools
from collections.abc import Callable, Iterator, Mapping

import jax

from mecheval_jax.array_types import PyTree
from mecheval_jax.benchmarks.competitors import Competitor, times_of_turns
from mecheval_jax.benchmarks.measured import Benchmark, Measured, ratio
from mecheval_jax.benchmarks.training import steps_on_one_device
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig

OURS = "here"
ROUNDS, STEPS = 7, 40
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
    spent = times_of_turns(
        {
            OURS: Competitor(_our_steps, (mixer, width), keeps_memory=True),
            "eager": Competitor(_their_steps, (mixer, width, False)),
            "compiled": Competitor(_their_steps, (mixer, width, True)),
        },
        ROUNDS,
        STEPS,
    )
    yield from compared(f"{mixer}, width {width}", spent)


def _training() -> tuple[Task, TrainingConfig]:
    return AssociativeRecall(), TrainingConfig(
        STEPS, training_batches=3126, steps_per_dispatch=STEPS
    )


def _our_steps(mixer: str, width: int) -> Callable[[], object]:
    task, training = _training()
    return steps_on_one_device(_model(mixer, width, task), task, training, STEPS)


def _their_steps(mixer: str, width: int, compiled: bool) -> Callable[[], object]:
    from mecheval_jax.benchmarks import torch_baseline

    task, training = _training()
    theirs = torch_baseline.load(*_drawn(mixer, width, task))
    batches = torch_baseline.draw(task, training)
    take = torch_baseline.training_steps(theirs, task, training, batches, compiled)
    return functools.partial(take, STEPS)


def grid_against_torch(mixer: str, width: int) -> Iterator[Measured]:
    """Times of a model's interchange grid that restores, over 320 documents, in three rounds."""
    spent = times_of_turns(
        {
            OURS: Competitor(_our_grid, (mixer, width), keeps_memory=True),
            "eager": Competitor(_their_grid, (mixer, width)),
        },
        3,
    )
    yield from compared(f"{mixer}, width {width}", spent)


def _documents() -> tuple[Task, EvaluationConfig, Batch]:
    task, evaluation = AssociativeRecall(), EvaluationConfig(directions=(RESTORE,))
    return task, evaluation, task.sample(jax.random.key(0), evaluation.documents, "test")


def _our_grid(mixer: str, width: int) -> Callable[[], object]:
    task, evaluation, batch = _documents()
    model, params = _drawn(mixer, width, task)
    grid = compile_grid(model, task, evaluation, default_sites(model))
    return functools.partial(grid, params, batch)


def _their_grid(mixer: str, width: int) -> Callable[[], object]:
    from mecheval_jax.benchmarks import torch_baseline

    task, evaluation, batch = _documents()
    model, params = _drawn(mixer, width, task)
    theirs = torch_baseline.load(model, params)
    return torch_baseline.interchange(theirs, task, batch, evaluation, default_sites(model))


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


def _drawn(mixer: str, width: int, task: Task) -> tuple[ModelConfig, PyTree]:
    model = _model(mixer, width, task)
    return model, initialize(model, jax.random.key(0))


def _model(mixer: str, width: int, task: AssociativeRecall) -> ModelConfig:
    return ModelConfig(mixer, 2, width, task.vocabulary_size, 1024, positions=positions_of(mixer))
