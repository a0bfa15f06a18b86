"""A sweep that may be one of several processes: ``python -m tests.support.host_sweeps``.

With ``--full_disk`` this process cannot write what it found of the first member.
"""

from absl import flags

from configs import grids
from mecheval_jax import command_line
from mecheval_jax.store import results
from mecheval_jax.sweeps import group
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.sweeps.run import report_failures, run_sweep
from tests.support import small

BASE = small.experiment(small.ONE_LAYER).as_dict()
CHANGES = grids.product(grids.axis("training.learning_rate", (1e-2, 1e-3)), grids.seeds(2))[:3]
"""Not as many as fill four devices up."""
OPTIONS = group.Options(strategy="vmap", interventions="none")


def fail_once():
    """Arrange for an error that a second attempt would not have."""
    record = results.record_answers

    def failing(*arguments):
        results.record_answers = record
        raise OSError(28, "No space left on device")

    results.record_answers = failing


def main():
    if flags.FLAGS.full_disk:
        fail_once()
    report_failures(run_sweep(plan(BASE, CHANGES), flags.FLAGS.workdir, OPTIONS))


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the sweep.", required=True)
    flags.DEFINE_bool("full_disk", False, "Whether to fail once.")
    command_line.run(main, many_hosts=True)
