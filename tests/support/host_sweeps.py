"""A sweep that may be one of several processes: ``python -m tests.support.host_sweeps``.

It has so many ``--groups``. With ``--full_disk`` this process cannot write what it found of the
first member.
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
RATES = grids.axis("training.learning_rate", (1e-2, 1e-3))
CHANGES = [*grids.product(RATES, grids.seeds(2))[:3], {"model.width": 32}]
"""Two groups, of which the first has not as many members as fill four devices up."""
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
    sweep = plan(BASE, CHANGES)
    groups = sweep.groups[: flags.FLAGS.groups]
    report_failures(run_sweep(sweep, flags.FLAGS.workdir, OPTIONS, groups))


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the sweep.", required=True)
    flags.DEFINE_integer("groups", 1, "Number of groups, of two.")
    flags.DEFINE_bool("full_disk", False, "Whether to fail once.")
    command_line.run(main, many_hosts=True)
