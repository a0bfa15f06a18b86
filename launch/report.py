"""Write figures and a self-contained HTML report of one or several runs.

    python -m launch.report --workdir=DIR [--workdir=DIR2 ...] [--output=REPORT_DIR]

The report of one run is written into its folder; that of several into --output (the first run's
folder if not given), with a comparison before the single runs.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folders of runs.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the report; the first run's if not given.")


def main():
    """Run the program."""
    from mecheval_jax.reporting.html import report

    report.write(WORKDIRS.value, OUTPUT.value)


if __name__ == "__main__":
    command_line.run(main)
