"""Give one verdict on several runs that differ in their seeds, with intervals over all of them.

    python -m launch.pool --workdir=DIR --workdir=DIR2 [--workdir=DIR3 ...]

Interventions must have been measured on each run (``launch.intervene``). Runs that have not learned
the task are counted and left out.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folders of runs.", required=True)


def main():
    """Run the program."""
    from mecheval_jax import runs
    from mecheval_jax.reporting.terminal import tables

    tables.show_pool(*runs.pool(WORKDIRS.value))


if __name__ == "__main__":
    command_line.run(main)
