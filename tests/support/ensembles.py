"""Ensembles that train in seconds, and the runs that their members would be alone."""

import dataclasses

import jax
import numpy as np

from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh
from mecheval_jax.training.loop import fit
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.state import Policy
from tests.support import small

STEPS = 100


MEMBERS = (
    {"learning_rate": 1e-2, "seed": 0, "data_seed": 0},
    {"learning_rate": 3e-3, "seed": 2**32 - 1, "data_seed": 7, "weight_decay": 0.1},
    {"learning_rate": 1e-2, "seed": 3, "data_seed": 3, "beta1": 0.8, "beta2": 0.9},
    {"learning_rate": 1e-2, "seed": 0, "data_seed": 1, "steps": 60},
)
"""Each differs from the first in something else."""


def experiment(**training):
    values = {"steps": STEPS, "evaluate_every": 50, "checkpoint_every": 50}
    return small.experiment(small.ONE_LAYER, **values | {"steps_per_dispatch": 25} | training)


def ensemble_of(experiment, members=MEMBERS):
    runs = [dataclasses.replace(experiment.training, **changes) for changes in members]
    return Ensemble(experiment.model, experiment.task, tuple(runs))


def programs_of(ensemble, strategy=None):
    return MemberPrograms(ensemble, member_mesh(jax.devices()[:1]), strategy)


def train(ensemble, strategy=None, checkpoints=None, state=None):
    """The members at the end, and what the callbacks were told."""
    programs, recorder = programs_of(ensemble, strategy), small.Recorder()
    checkpoints = small.Nowhere() if checkpoints is None else checkpoints
    state = programs.create() if state is None else state
    return fit(state, programs, checkpoints, recorder, Policy.FREEZE), recorder


def alone(experiment, changes):
    """The same run by itself: its last state and its rows."""
    training = dataclasses.replace(experiment.training, **changes)
    programs = small.programs(dataclasses.replace(experiment, training=training))
    recorder = small.Recorder()
    state = fit(programs.create(), programs, small.Nowhere(), recorder, Policy.RAISE)
    return state, recorder.rows


def params_of(members, i):
    return jax.tree.map(lambda leaf: leaf[i], members.params)


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
