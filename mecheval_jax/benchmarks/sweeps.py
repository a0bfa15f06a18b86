"""Benchmarks of a sweep as one program, beside the same runs as separate programs."""

import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import jax

from mecheval_jax.benchmarks.training import whole_step
from mecheval_jax.files import read_json
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.store.metrics import read_rows
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.ensemble.members import Ensemble, Strategy
from mecheval_jax.training.ensemble.mesh import member_mesh
from mecheval_jax.training.ensemble.programs import MemberPrograms

MEMBERS, STEPS = 16, 1000
CONFIG = "configs/recall.py:mixer=attention,width=32"
MIXERS = ("attention", "based", "hyena", "mamba")


def sweep_as_one_program() -> None:
    """Print times of 16 runs of 1,000 steps (attention, width 32, 8 pairs of 128), both ways.

    Shorter runs before fill the compilation cache. The times without start-up count steps alone,
    by the runs' own times of a step and the sweep's rate at its end.
    """
    print(f"\n{MEMBERS} runs of {STEPS} steps, attention of width 32, compiled before")
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
    print(f"{'':34}{'s':>8}{'without start-up, s':>22}")
    print(f"{'launch.train, one after another':34}{apart:8.1f}{steps_apart:22.1f}")
    print(f"{'launch.sweep':34}{together:8.1f}{steps_together:22.1f}")
    print(f"{'ratio':34}{apart / together:8.2f}{steps_apart / steps_together:22.2f}")
    print(f"members were computed by {strategy['kind']}, {strategy['at_once']} at once")


def _run(arguments: Sequence[str]) -> None:
    """Run a Python module in a process of its own."""
    subprocess.run([sys.executable, "-m", *arguments], capture_output=True, check=True)


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
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["split"] == "train"]
    return STEPS * statistics.median(row["seconds_per_step"] for row in rows)


def strategies() -> None:
    """Print times of a step of one of 16 members by each strategy, and of a run alone."""
    task = AssociativeRecall(pairs=8, key_vocabulary=128, value_vocabulary=128)
    devices = jax.device_count()
    print(f"\nms a step of one of {MEMBERS} members, width 32, on {devices} devices")
    print(f"{'':14}{'alone':>8}{'vmap':>8}{'vmap of 4':>11}{'scan':>8}{'loop':>8}")
    for mixer in MIXERS:
        positions = "learned" if mixer == "attention" else "none"
        model = ModelConfig(mixer, 2, 32, task.vocabulary_size, 1024, positions=positions)
        training = TrainingConfig(steps=2**30, batch_size=64)
        runs = tuple(
            dataclasses.replace(training, seed=seed, data_seed=seed) for seed in range(MEMBERS)
        )
        programs = MemberPrograms(Ensemble(model, task, runs), member_mesh())
        kinds = (Strategy("vmap", MEMBERS), Strategy("vmap", 4), Strategy("scan"), Strategy("loop"))
        times = [programs.seconds_of(kind) / programs.measured_steps / MEMBERS for kind in kinds]
        alone = whole_step(model, task, training, 50)
        print(
            f"{mixer:14}{alone * 1e3:8.2f}{times[0] * 1e3:8.2f}{times[1] * 1e3:11.2f}"
            f"{times[2] * 1e3:8.2f}{times[3] * 1e3:8.2f}"
        )
