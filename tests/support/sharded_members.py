"""Ensembles on 8 devices: ``python -m tests.support.sharded_members MIXER ...`` prints exchanges.

A program of its own, because the number of a CPU's devices is fixed when jax starts.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import sys
import tempfile

import jax
import numpy as np

from mecheval_jax import command_line
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.measurement import plan_verdict
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh, on_members, shard_members
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.loop import fit, restore_or_create
from mecheval_jax.training.members import Ensemble, stack
from mecheval_jax.training.preemption import Preempted
from mecheval_jax.training.state import Policy
from tests.support import small
from tests.support.sharded_runs import LONG

MEMBERS = 11
"""Not a multiple of 8: some devices have a copy to compute."""

COLLECTIVES = r"\b(all-gather|all-reduce|all-to-all|collective-\w+|reduce-scatter)(-start)?\("
LONG_FILTERS = {"hyena": {}, "base_conv": {"kernel": "implicit"}, "h3": {"d_state": 16}}


def ensemble_of(mixer, changes):
    layers = len(mixer.split(","))
    changes = {"model.mixer": mixer, "model.layers": layers} | changes
    with_heads = "mamba2" in mixer or "mamba3" in mixer
    options = {"head_dim": 16} if with_heads else LONG_FILTERS.get(mixer, {})
    experiment = small.experiment(
        {"model.feed_forward": "none", "model.mixer_options": options} | changes,
        steps=10,
        steps_per_dispatch=5,
        learning_rate=1e-2,
    )
    runs = [
        dataclasses.replace(experiment.training, seed=seed, data_seed=seed)
        for seed in range(MEMBERS)
    ]
    return experiment, Ensemble(experiment.model, experiment.task, tuple(runs))


def report(mixer, changes, *, everything):
    """Collectives and FFTs in the programs of an ensemble."""
    experiment, ensemble = ensemble_of(mixer, changes)
    programs = MemberPrograms(ensemble, member_mesh(), Strategy("vmap", 2))
    texts = {"steps": programs.steps(Policy.FREEZE).as_text()}
    if everything:
        texts["birth"] = programs._birth.lower(programs._hyperparameters).compile().as_text()
        documents = shard_members(stack(ensemble.development_documents()), programs.mesh)
        evaluation = programs.evaluation.lower(programs.create(), documents)
        texts["evaluate"] = evaluation.compile().as_text()
        measurement, arrays = plan_verdict(Subject.of(experiment, None))

        def one(state, arrays):
            return measurement.on_device(state.params, arrays)

        stacked = shard_members(stack([arrays] * MEMBERS), programs.mesh)
        measure = jax.jit(on_members(one, programs.mesh, at_once=1))
        texts["measure"] = measure.lower(programs.create(), stacked).compile().as_text()
    return {
        "collectives": {name: len(re.findall(COLLECTIVES, text)) for name, text in texts.items()},
        "lapack": sum(text.count("lapack") for text in texts.values()),
        "ffts": len(re.findall(r" fft\(", texts["steps"])),
    }


STAYS = {"eight": [(8, 10)], "one": [(1, 10)], "moved": [(8, 5), (3, 10)]}
"""On how many devices members are trained, one after the other, and up to which step."""


def losses():
    """Of all members, wherever they are trained."""
    found = {}
    for name, stays in STAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            recorder = small.Recorder()
            for count, until in stays:
                checkpoints = Checkpoints(pathlib.Path(folder), any_length=True)
                fit_until(until, jax.devices()[:count], checkpoints, recorder)
                checkpoints.close()
        found[name] = [[r["member"], r["step"], r["split"], r["loss"]] for r in recorder.rows]
    return found


def fit_until(until, devices, checkpoints, recorder):
    """Train on from where checkpoints stand."""
    _, ensemble = ensemble_of("attention", {})
    programs = MemberPrograms(ensemble, member_mesh(devices), Strategy("vmap", MEMBERS))
    state, step = restore_or_create(programs, checkpoints, recorder.say)
    preemption = small.PreemptionAt((until - step) // ensemble.training.steps_per_dispatch)
    with contextlib.suppress(Preempted):
        fit(state, programs, checkpoints, recorder, Policy.FREEZE, preemption)


if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    np.testing.assert_equal(jax.device_count(), 8)
    found = {"mixers": {mixer: report(mixer, {}, everything=True) for mixer in sys.argv[1:]}}
    if not sys.argv[1:]:
        found["losses"] = losses()
        found["mixers"] = {"attention,mamba": report("attention,mamba", {}, everything=True)}
        found["long"] = {mixer: report(mixer, LONG, everything=False) for mixer in LONG_FILTERS}
    json.dump(found, sys.stdout)
