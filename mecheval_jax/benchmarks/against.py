"""Our training step and interchange grid against what PyTorch takes for them.

Whoever is compared runs in turn, several rounds of it, on the same machine and documents. A ratio
is that of the times of one round, so that what slows the machine for a while slows both. It is
taken against the variant of PyTorch that is the fastest in the median.
"""

import statistics
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from mecheval_jax.benchmarks.training import steps_on_one_device
from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig

OURS = "here"
ROUNDS = 7
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
    """Check that there is PyTorch.

    Raises:
        UserError: If there is not; it says how to install it.
    """
    try:
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "--against=torch needs the package torch: pip install torch "
            "(a CPU build has --extra-index-url https://download.pytorch.org/whl/cpu)"
        ) from error


def steps_against_torch(steps: int) -> None:
    """Print times of a training step, in `ROUNDS` rounds of `steps` steps."""
    from mecheval_jax.benchmarks import torch_baseline

    _head("training step, batch 32", ("eager", "compiled", OURS))
    task = AssociativeRecall()
    training = TrainingConfig(steps, training_batches=3126, steps_per_dispatch=steps)
    batches = torch_baseline.draw(task, training)
    for mixer, width in CASES:
        say(f"measuring {mixer}, width {width}")
        model = _model(mixer, width, task)
        params = initialize(model, jax.random.key(0))
        runs: dict[str, Callable[[], object]] = {
            OURS: steps_on_one_device(model, task, training, steps)
        }
        for name, compiled in (("eager", False), ("compiled", True)):
            theirs = torch_baseline.load(model, params)
            take = torch_baseline.training_steps(theirs, task, training, batches, compiled)
            runs[name] = lambda take=take: take(steps)
        _row(f"{mixer} {width}", in_turn(runs, ROUNDS), 1e3 / steps, "ms")


def grid_against_torch() -> None:
    """Print times of the interchange grid that restores, over 320 documents, in three rounds."""
    from mecheval_jax.benchmarks import torch_baseline

    _head("grid, 320 documents", ("eager", OURS))
    task, evaluation = AssociativeRecall(), EvaluationConfig(directions=("restore",))
    batch = task.sample(jax.random.key(0), evaluation.documents, "test")
    for mixer, width in CASES[:5]:
        say(f"measuring the grid of {mixer}")
        model = _model(mixer, width, task)
        params, sites = initialize(model, jax.random.key(0)), default_sites(model)
        grid = compile_grid(model, task, evaluation, sites)
        theirs = torch_baseline.load(model, params)
        runs = {
            OURS: lambda grid=grid, params=params: jax.block_until_ready(grid(params, batch)),
            "eager": torch_baseline.interchange(theirs, task, batch, evaluation, sites),
        }
        _row(f"{mixer} {width}", in_turn(runs, 3), 1, "s")


AGAINST_TORCH: dict[str, Callable[..., None]] = {
    "step": steps_against_torch,
    "grid": grid_against_torch,
}


def in_turn(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Times in seconds of every run in every round, after a round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i:
                times[name].append(time.perf_counter() - start)
    return times


def ratios(times: Mapping[str, list[float]]) -> tuple[str, np.ndarray]:
    """The fastest other variant, and its time / ours in every round."""
    others = {name: statistics.median(spent) for name, spent in times.items() if name != OURS}
    best = min(others, key=others.__getitem__)
    return best, np.array(times[best]) / np.array(times[OURS])


def _model(mixer: str, width: int, task: AssociativeRecall) -> ModelConfig:
    positions = "learned" if mixer == "attention" else "none"
    return ModelConfig(mixer, 2, width, task.vocabulary_size, 1024, positions=positions)


def _head(title: str, names: tuple[str, ...]) -> None:
    print(f"\n{title:24}" + "".join(f"{name:>13}" for name in names) + "   ratio to the best")


def _row(name: str, times: Mapping[str, list[float]], scale: float, unit: str) -> None:
    order = sorted(times, key=lambda name: name == OURS)
    cells = [f"{statistics.median(times[name]) * scale:.2f} {unit}" for name in order]
    best, found = ratios(times)
    spread = f"{np.median(found):.2f} ({found.min():.2f} to {found.max():.2f}, {best})"
    print(f"{name:24}" + "".join(f"{cell:>13}" for cell in cells) + f"   {spread}", flush=True)
