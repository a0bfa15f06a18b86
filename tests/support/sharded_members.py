"""Groups on 8 devices: ``python -m tests.support.sharded_members MIXER ...`` prints exchanges.

A program of its own, because the number of a CPU's devices is fixed when jax starts.
"""

import dataclasses
import json
import pathlib
import re
import sys
import tempfile

import jax
import numpy as np

from mecheval_jax import command_line
from mecheval_jax.evaluation.accuracy import documents_of
from mecheval_jax.evaluation.verdict.measurement import Inquiry
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble.group import Group, development_documents, stack
from mecheval_jax.training.ensemble.loop import fit_group, restored, saved_part
from mecheval_jax.training.ensemble.mesh import member_mesh, on_members, place
from mecheval_jax.training.ensemble.programs import Programs
from mecheval_jax.training.ensemble.strategies import Strategy
from tests.support import small
from tests.support.sharded_runs import LONG
from tests.training.ensemble.test_members import Watcher

MEMBERS = 11
"""Not a multiple of 8: some devices have a copy to compute."""

COLLECTIVES = r"\b(all-gather|all-reduce|all-to-all|collective-\w+|reduce-scatter)(-start)?\("
LONG_FILTERS = {"hyena": {}, "base_conv": {"kernel": "implicit"}, "h3": {"d_state": 16}}


def group_of(mixer, changes):
    layers = len(mixer.split(","))
    changes = {"model.mixer": mixer, "model.layers": layers} | changes
    options = {"head_dim": 16} if "mamba2" in mixer else LONG_FILTERS.get(mixer, {})
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
    return experiment, Group(experiment.model, experiment.task, tuple(runs))


def report(mixer, changes, *, everything):
    """Collectives and FFTs in the programs of a group."""
    experiment, group = group_of(mixer, changes)
    programs = Programs(group, member_mesh())
    strategy = Strategy("vmap", 2)
    texts = {"steps": programs.steps(strategy).as_text()}
    if everything:
        texts["birth"] = programs._birth.lower(programs._hyperparameters).compile().as_text()
        documents = place(development_documents(group), programs.mesh)
        evaluate = programs.evaluate(strategy).lower(programs.create(), documents)
        texts["evaluate"] = evaluate.compile().as_text()
        inquiry, sample = Inquiry.of(experiment, documents_of(experiment))

        def one(pair):
            state, sample = pair
            return inquiry.on_device(state.params, state.params, sample)

        samples = place(stack([sample] * MEMBERS), programs.mesh)
        measure = jax.jit(on_members(one, programs.mesh, at_once=1))
        texts["measure"] = measure.lower((programs.create().state, samples)).compile().as_text()
    return {
        "collectives": {name: len(re.findall(COLLECTIVES, text)) for name, text in texts.items()},
        "ffts": len(re.findall(r" fft\(", texts["steps"])),
    }


STAYS = {"eight": [(8, 10)], "one": [(1, 10)], "moved": [(8, 5), (3, 10)]}
"""On how many devices members are trained, one after the other, and up to which step."""


def losses():
    """Of all members, wherever they are trained."""
    found = {}
    for name, stays in STAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            watcher = Watcher()
            for count, until in stays:
                checkpoints = Checkpoints(pathlib.Path(folder), any_length=True)
                fit_until(until, jax.devices()[:count], checkpoints, watcher)
                checkpoints.close()
        found[name] = [[r["member"], r["step"], r["split"], r["loss"]] for r in watcher.rows]
    return found


def fit_until(until, devices, checkpoints, watcher):
    """Train on from where checkpoints stand."""
    _, group = group_of("attention", {})
    programs = Programs(group, member_mesh(devices))
    members, saved = programs.create(), checkpoints.restore(saved_part(programs.abstract))
    if saved is not None:
        members = restored(members, saved)
    fit_group(
        programs,
        Strategy("vmap", MEMBERS),
        members,
        jax.device_get,
        lambda step, members: checkpoints.save(step, saved_part(members)),
        lambda step: step == until,
        watcher,
    )


if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    np.testing.assert_equal(jax.device_count(), 8)
    found = {"mixers": {mixer: report(mixer, {}, everything=True) for mixer in sys.argv[1:]}}
    if not sys.argv[1:]:
        found["losses"] = losses()
        found["mixers"] = {"attention,mamba": report("attention,mamba", {}, everything=True)}
        found["long"] = {mixer: report(mixer, LONG, everything=False) for mixer in LONG_FILTERS}
    json.dump(found, sys.stdout)
