"""Benchmarks of a sweep as one program, compared with its runs as separate programs."""

import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from mecheval_jax.benchmarks.measured import TIMES, Measured, one
from mecheval_jax.benchmarks.training import whole_step
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.store.folder import METRICS_FILE
from mecheval_jax.store.metrics import read_rows
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.members import Ensemble

MEMBERS, STEPS = 16, 1000
CONFIG = "configs/recall.py:mixer=attention,width=32"
MIXERS = ("attention", "based", "hyena", "mamba")


def sweep_as_one_program() -> Iterator[Measured]:
    """Times of 16 runs of 1,000 steps (attention, width 32, 8 pairs of 128), both ways.

    Shorter runs before them fill the compilation cache. Times without start-up count only the
    steps: from the runs' own times of a step, and from the sweep's final rate.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        _train(home / "warm", 0, 200)
        _sweep(home / "warm_sweep", 200)
        start = time.perf_counter()
        for seed in range(MEMBERS):
            _train(home / str(seed), seed, STEPS)
        apart = time.perf_counter() - start
        start = time.perf_counter()
        _sweep(home / "sweep", STEPS)
        together = time.perf_counter() - start
        steps_apart = sum(_seconds_of_steps(home / str(seed)) for seed in range(MEMBERS))
        (group,) = SweepFolder(home / "sweep").groups()
        steps_together = MEMBERS * STEPS / group.read_status().rate
        strategy = read_json(group.strategy)
    how = f"launch.sweep, by {strategy['kind']}, {strategy['at_once']} at once"
    for name, whole, steps in (
        ("launch.train, one after another", apart, steps_apart),
        (how, together, steps_together),
    ):
        yield one(name, "time", whole, "s")
        yield one(name, "without start-up", steps, "s")
    yield one("ratio", "time", apart / together, TIMES)
    yield one("ratio", "without start-up", steps_apart / steps_together, TIMES)


def _run(arguments: Sequence[str]) -> None:
    """Run a Python module in a separate process.

    Raises:
        UserError: If it fails, with its last line.
    """
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"{arguments[0]} fails: {said[-1]}")


def _train(workdir: pathlib.Path, seed: int, steps: int) -> None:
    config = f"--config={CONFIG},seed={seed},steps={steps}"
    _run(["launch.train", config, f"--workdir={workdir}"])


def _sweep(workdir: pathlib.Path, steps: int) -> None:
    seeds = ",".join(map(str, range(MEMBERS)))
    grid = f"--grid=training.seed={seeds}"
    config = f"--config={CONFIG},steps={steps}"
    _run(["launch.sweep", config, f"--workdir={workdir}", grid, "--interventions=none"])


def _seconds_of_steps(workdir: pathlib.Path) -> float:
    """Time of all steps of a run, without start-up, in seconds."""
    rows = [row for row in read_rows(workdir / METRICS_FILE) if row["split"] == "train"]
    return STEPS * statistics.median(row["seconds_per_step"] for row in rows)


def strategies() -> Iterator[Measured]:
    """Times of a step of one of 16 members of width 32, by each strategy, and of a single run."""
    task = AssociativeRecall(pairs=8, key_vocabulary=128, value_vocabulary=128)
    kinds = {
        "vmap": Strategy("vmap", MEMBERS),
        "vmap of 4": Strategy("vmap", 4),
        "scan": Strategy("scan"),
        "loop": Strategy("loop"),
    }
    for mixer in MIXERS:
        positions = positions_of(mixer)
        model = ModelConfig(mixer, 2, 32, task.vocabulary_size, 1024, positions=positions)
        training = TrainingConfig(steps=2**30, batch_size=64)
        runs = tuple(
            dataclasses.replace(training, seed=seed, data_seed=seed) for seed in range(MEMBERS)
        )
        programs = MemberPrograms(Ensemble(model, task, runs), member_mesh())
        yield whole_step(mixer, model, task, training, 50)
        for name, kind in kinds.items():
            step = programs.seconds_of(kind) / programs.measured_steps / MEMBERS
            yield one(mixer, name, step, "s")
