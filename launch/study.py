"""Run the published study (arXiv 2505.15105) at a scale, and judge its findings.

    python -m launch.study --workdir=DIR --scale=laptop

First says what will be run and how long it will take, then runs the experiments of
``configs/study``, those that decide the most findings first, and judges the study's 30 findings.
The same command resumes. ``--only=ar_two_layers,mamba_taps`` runs some experiments, ``--groups``
some groups of one, ``--budget=HOURS`` limits the time, ``--dry_run`` runs nothing, and ``--smoke``
goes through everything with tiny runs. On a CPU ``--jobs_at_once=2`` trains two groups at the same
time, each on half of the cores.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
SCALE = flags.DEFINE_string("scale", "laptop", "Size of the study: laptop, device or full.")
ONLY = flags.DEFINE_list("only", [], "Names of the experiments to run; all if not given.")
GROUPS = flags.DEFINE_list("groups", [], "Groups of the experiment in --only; all if not given.")
BUDGET = flags.DEFINE_float("budget", None, "Hours after which no group of runs is begun.")
SMOKE = flags.DEFINE_bool("smoke", False, "One tiny run of each experiment.")
INTERVENTIONS = flags.DEFINE_string(
    "interventions", "full", "Level of measurement of every member: full, verdict, none."
)
TABLES = flags.DEFINE_list(
    "tables", [], "Results tables, or folders of them, whose members are not trained again."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what would be run, and run nothing.")
JOBS_AT_ONCE = flags.DEFINE_integer(
    "jobs_at_once", 1, "Groups at the same time, as processes that divide the cores of a CPU.", 1
)
TRAIN_ONLY = flags.DEFINE_bool(
    "train_only", False, "Train groups, and leave tables and judgements to another command."
)
CPU_DEVICES = command_line.define_cpu_devices()


def main():
    """Run the program."""
    from configs.study import config_of
    from mecheval_jax.study import run
    from mecheval_jax.study.group_names import plain
    from mecheval_jax.sweeps.run import SweepOutcome, report_failures

    request = run.StudyRequest(
        scale=SCALE.value,
        only=tuple(ONLY.value),
        budget=BUDGET.value,
        smoke=SMOKE.value,
        interventions=INTERVENTIONS.value,
        tables=tuple(TABLES.value),
        dry_run=DRY_RUN.value,
        groups=plain(GROUPS.value),
        jobs_at_once=JOBS_AT_ONCE.value,
        train_only=TRAIN_ONLY.value,
    )
    outcome = run.run_study(WORKDIR.value, request, config_of)
    report_failures(SweepOutcome(outcome.failed))


if __name__ == "__main__":
    command_line.run(main, cpu_devices=CPU_DEVICES)
