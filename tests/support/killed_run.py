"""A training that is killed: ``python -m tests.support.killed_run WORKDIR MOMENT STEP``.

At moment ``row`` the process gets SIGKILL when it is half way through writing the first row of
that step; at ``save`` while the checkpoint of that step is being written in the background. These
moments are inside a write; `tests.support.killed` has those before one, and any other.
"""

import os
import signal
import sys

from mecheval_jax import command_line, runs
from mecheval_jax.store.metrics import JsonLines
from mecheval_jax.training.checkpoints import Checkpoints
from tests.support import small

EXPERIMENT = small.experiment(
    small.ONE_LAYER,
    steps=40,
    checkpoint_every=10,
    evaluate_every=20,
    steps_per_dispatch=5,
    learning_rate=1e-2,
    weight_decay=0.1,
)


def kill_at(moment: str, step: int) -> None:
    """Arrange for the end of this process."""
    write, save = JsonLines.write, Checkpoints.save

    def write_half(self, values):
        if values["step"] == step:
            self._file.write('{"step": 2')
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, values)

    def save_whole(self, at, tree):
        save(self, at, tree)
        self._manager.wait_until_finished()

    def save_half(self, at, tree):
        reached = at == step
        save(self, at, tree)
        if reached:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "row":
        JsonLines.write, Checkpoints.save = write_half, save_whole
    else:
        Checkpoints.save = save_half


if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    kill_at(sys.argv[2], int(sys.argv[3]))
    runs.train(EXPERIMENT, sys.argv[1])
