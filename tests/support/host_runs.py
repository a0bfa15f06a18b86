"""A training that may be one of several processes: ``python -m tests.support.host_runs``.

With ``--kill_at=STOP`` the process gets a signal at that stop of the training loop, counted from
its start, before it decides whether to go on.
"""

import os
import time

from absl import flags

from mecheval_jax import command_line, runs
from mecheval_jax.partitioning.mesh import make_mesh, parse_mesh
from mecheval_jax.training import host_steps
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.preemption import Preemption
from tests.support.host_experiments import STEPS, TASKS, experiment_of

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
TASK = flags.DEFINE_enum("task", "recall", list(TASKS), "What is trained on.")
WIDTH = flags.DEFINE_integer("width", 16, "Of the model.")
MESH = flags.DEFINE_string("mesh", "-1,1,1", "Devices along data, fsdp and model.")
KILL_AT = flags.DEFINE_integer("kill_at", None, "Stop at which a signal is sent.")
SIGNAL = flags.DEFINE_integer("signal", 9, "Which signal.")


def kill_at(stop, number):
    """Arrange for a signal to this process, when the last checkpoint is on disk."""
    requested, save = Preemption.requested, Checkpoints.save
    stops = iter(range(1, stop + 1))

    def signalled(self):
        if next(stops, None) == stop:
            os.kill(os.getpid(), number)
            time.sleep(1)  # the signal is passed on by a thread, which fast steps would outrun
        return requested(self)

    def save_whole(self, step, tree):
        save(self, step, tree)
        self._manager.wait_until_finished()

    Preemption.requested, Checkpoints.save = signalled, save_whole


def main():
    if KILL_AT.value is not None:
        kill_at(KILL_AT.value, SIGNAL.value)
    host_steps.STEPS_WORTH_PARTS = STEPS
    mesh = make_mesh(shape=parse_mesh(MESH.value))
    runs.train(experiment_of(TASK.value, WIDTH.value), WORKDIR.value, mesh)


if __name__ == "__main__":
    command_line.run(main, many_hosts=True)
