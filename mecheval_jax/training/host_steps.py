"""Training steps on documents that the host draws while the devices compute the step before.

A single device gets its documents from the host as a program starts, without the fields that
no step reads. On a CPU a batch is computed in parts of similar lengths, which saves the padding of
most of it. Then shapes differ from step to step, and each is compiled once:

* Where documents have few lengths, a step is one program for each combination of shapes.
* Where they have many (L = 10: 32 combinations of parts), it is a program for each shape of a
  first, a middle and a last part, of which there are fewer, and smaller ones. Two layers of
  attention of width 16 took 80 s for their first 1,200 steps on 2 cores, where programs of whole
  steps took 248 s. A step itself takes a little longer (22.5 and 20.8 ms; at L = 5 and width 32,
  where whole steps are kept, it would be 5.1 and 4.4 ms).
"""

import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.training.compiler_options import compiler_options
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import BLOCK, HostDocuments
from mecheval_jax.training.state import Policy, TrainState
from mecheval_jax.training.step import (
    Metrics,
    add_share,
    no_metrics,
    take_last_part,
    take_step,
    totals_of,
)

if TYPE_CHECKING:
    from mecheval_jax.training.device_programs import Programs

STEPS_WORTH_PARTS = 10_000
"""Number of steps from which on a batch is computed in parts of similar lengths: their programs
take a minute more to compile (two layers of attention, L = 5), and save 6 ms a step."""

MOST_COMBINATIONS = 8
"""Number of combinations of shapes among the first batches up to which a step is one program."""


def are_in_parts(training: TrainingConfig, platform: str) -> bool:
    """Whether the documents of a step are computed in parts of similar lengths.

    That saves work on a CPU, and takes longer to compile. On an accelerator, where a small step
    waits for its operations to start, it would cost more of these.
    """
    return platform == "cpu" and training.steps >= STEPS_WORTH_PARTS


class HostSteps:
    """The training steps of an ensemble: (state, first, stop) -> (state, metrics of every step).

    Args:
        programs: The ensemble on its devices.
        policy: Policy for members that diverge.
    """

    def __init__(self, programs: "Programs", policy: Policy):
        self._programs, self._training = programs, programs.ensemble.training
        self._documents = self._drawn()
        on_all, ensemble = programs.on_all, programs.ensemble
        state = programs.state_shardings(programs.abstract)
        taken = {"donate_argnums": (0, 1), "out_shardings": (state, programs.sharding)}
        how = {"ensemble": ensemble, "policy": policy}
        whole, last = (functools.partial(step, **how) for step in (take_step, take_last_part))
        total = functools.partial(totals_of, task=ensemble.task)
        share = functools.partial(add_share, ensemble=ensemble)
        shares = {"donate_argnums": 0, "out_shardings": (state.params, programs.sharding)}
        # Sharded as a step returns it: with any other sharding every program compiles twice.
        empty = on_all(lambda _: no_metrics(ensemble.training))
        options = compiler_options(programs.platform)
        jit = functools.partial(jax.jit, compiler_options=options)
        self._room = jit(empty, out_shardings=programs.sharding)
        self._take = jit(on_all(whole, shared=1), **taken)
        self._total = jit(on_all(total), out_shardings=programs.sharding)
        self._add = jit(on_all(share), **shares)
        self._end = jit(on_all(last, shared=1), **taken)

    def _drawn(self) -> dict[int, HostDocuments]:
        """The documents of every data seed."""
        programs, training = self._programs, self._training
        rows_sharding = programs.rows_sharding if programs.mesh.size > 1 else None
        shared = training.batch_size, training.replay, rows_sharding
        in_parts = are_in_parts(training, programs.platform)
        unit = training.gradient_accumulation if in_parts else None
        return {
            seed: HostDocuments(programs.ensemble.task, jax.random.key(seed), *shared, unit=unit)
            for seed in dict.fromkeys(run.data_seed for run in programs.ensemble.runs)
        }

    def __call__(self, state: TrainState, first: Any, stop: Any) -> tuple[TrainState, Metrics]:
        """Take the steps from `first` to before `stop`; the given state is donated."""
        metrics = self._room(state.hyperparameters)
        for step in range(int(first), int(stop)):
            parts = self._parts(step)
            if len(parts) == 1 or self._whole_steps:
                state, metrics = self._take(state, metrics, parts, first)
                continue
            totals, shares = self._total(parts), None
            for part in parts[:-1]:
                shares = self._add(shares, state.params, part, totals)
            state, metrics = self._end(state, metrics, (shares, parts[-1], totals), first)
        return state, metrics

    def _parts(self, step: int) -> PyTree:
        """The parts of a step's documents, of all runs, on their devices."""
        longest = self._longest(step)
        drawn = {seed: each.parts(step, longest) for seed, each in self._documents.items()}
        runs = self._programs.ensemble.runs
        return self._programs.placed([drawn[run.data_seed] for run in runs])

    def _longest(self, step: int) -> np.ndarray:
        """Number of tokens up to which each part is padded: members need parts of one shape."""
        return np.max([each.longest(step) for each in self._documents.values()], axis=0)

    @functools.cached_property
    def _whole_steps(self) -> bool:
        """Whether a step is one program.

        That is a matter of the first batches, also where a run is resumed: the last bits of a
        step's numbers are those of its programs.
        """
        (documents, *_), count = self._documents.values(), self._training.training_batches
        steps = range(BLOCK if count is None else min(BLOCK, count))
        return len({documents.widths(self._longest(at)) for at in steps}) <= MOST_COMBINATIONS
