"""Compare runs and sweeps: answers and mechanisms side by side, differences with intervals.

    python -m launch.compare --workdir=DIR --workdir=DIR2 [--output=REPORT_DIR]

Runs of different tasks stand in sections of their own. Folders that are unfinished or damaged are
listed, and the rest is compared. With --output the table is written as ``comparison.csv``, what is
left out as ``left_out.csv``, and both as ``comparison.html`` (docs/choosing.md).
"""

import pathlib

from absl import flags

from mecheval_jax import command_line

WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folders of runs and sweeps.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of tables and page; none if not given.")


def main():
    """Run the program."""
    from mecheval_jax import comparison
    from mecheval_jax.console import say
    from mecheval_jax.files import check_folder
    from mecheval_jax.reporting.terminal.comparison import show_comparison

    if OUTPUT.value is not None:
        check_folder(pathlib.Path(OUTPUT.value), "output")
    found = comparison.compare(WORKDIRS.value)
    show_comparison(found.rows, found.left_out)
    if OUTPUT.value is not None:
        comparison.write(found, OUTPUT.value)
        say(f"comparison: {pathlib.Path(OUTPUT.value, 'comparison.html')}")


if __name__ == "__main__":
    command_line.run(main)
