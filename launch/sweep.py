r"""Train a whole sweep: runs of one shape as one program, on all devices.

    python -m launch.sweep --config=configs/recall.py --workdir=DIR
    python -m launch.sweep --config=configs/recall.py --workdir=DIR \
        --grid=training.learning_rate=1e-3,3e-3 --grid=training.seed=0,1,2,3

The runs are those of the config file's ``sweep()``, or every combination of the ``--grid`` flags.
The same command resumes an interrupted sweep and skips finished groups; with
``--skip_finished=docs/results`` also those that another machine has finished (docs/study.md).
"""

import sys

from absl import flags

from mecheval_jax import command_line

CONFIG = command_line.define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the sweep.", required=True)
GRID = flags.DEFINE_multi_string("grid", [], "field=value,value,... in place of sweep().")
GROUPS = flags.DEFINE_list("groups", None, "Names of the groups to run; all if not given.")
SKIP_FINISHED = flags.DEFINE_list(
    "skip_finished", [], "Results tables of the study: groups that are in them are not run."
)
SHARD = flags.DEFINE_string("shard", None, "i/n: the groups of one of n processes, i from 0.")
STRATEGY = flags.DEFINE_enum(
    "strategy", "auto", ["auto", "vmap", "scan", "loop"], "Strategy that computes the members."
)
AT_ONCE = flags.DEFINE_integer(
    "members_at_once",
    None,
    "Members that a device computes together; as many as fit if not given.",
    1,
)
INTERVENTIONS = flags.DEFINE_enum(
    "interventions", "full", ["full", "verdict", "none"], "Level of measurement of every member."
)
RETRIES = flags.DEFINE_integer("retries", 1, "How often a group that fails is run again.", 0, 100)
CPU_DEVICES = command_line.define_cpu_devices()
LAUNCHER = flags.DEFINE_enum(
    "launcher", "none", ["none", "local", "slurm"], "Run groups here, or as jobs by submitit."
)
SLURM = flags.DEFINE_string(
    "slurm", "", "Parameters of the jobs: partition=gpu,gpus_per_node=8,..."
)
JOBS_AT_ONCE = flags.DEFINE_integer(
    "jobs_at_once", None, "Jobs at the same time with --launcher=local; 1 if not given.", 1
)
WRITERS = command_line.define_writers()
flags.mark_flag_as_required("config")


def main():
    """Run the program."""
    from mecheval_jax.study.tables import names_left
    from mecheval_jax.sweeps import plan, run
    from mecheval_jax.sweeps.group import Options
    from mecheval_jax.sweeps.launchers import Jobs

    own = tuple(sys.argv[1:])
    jobs = Jobs(LAUNCHER.value, own, SLURM.value, JOBS_AT_ONCE.value, RETRIES.value)
    jobs.leave_accelerators()
    shard = plan.parse_shard(SHARD.value)
    sweep = plan.read_sweep(CONFIG.value, command_line.config_file(), GRID.value)
    options = Options(STRATEGY.value, AT_ONCE.value, INTERVENTIONS.value, tuple(WRITERS.value))
    names = GROUPS.value
    if SKIP_FINISHED.value:
        names = names_left(sweep, SKIP_FINISHED.value, INTERVENTIONS.value, names)
        if not names:
            return
    groups = sweep.chosen(names, shard)
    outcome = run.launch_sweep(sweep, WORKDIR.value, options, jobs, groups)
    run.report_failures(outcome)


if __name__ == "__main__":
    command_line.run(main, many_hosts=True, cpu_devices=CPU_DEVICES)
