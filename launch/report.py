"""Write figures, tables and a self-contained HTML report of a run, a sweep, or several runs.

    python -m launch.report --workdir=DIR [--workdir=DIR2 ...] [--output=REPORT_DIR]

The report of one run or sweep is written into its folder; that of several into --output (if not
given, the first one's folder that is there), with a comparison before the single runs. Each member
of a sweep is a run there, also if the sweep is the only one: the report of a sweep as such, whose
links lead into its folder, is in that folder alone. tables/ (CSV, Markdown, LaTeX) and figures/
(PNG, SVG, PDF) are written into the folder of each run, and those that compare runs beside the
report. With --output all is written there, and the folders of the runs may be read-only. For a
paper in a chosen size and font:

    python -m launch.report --workdir=DIR --figure_width=3.3 --font="DejaVu Serif" --font_size=8
"""

from absl import flags

from mecheval_jax import command_line

WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folders of runs or sweeps.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the report; the first run's if not given.")
WIDTH = flags.DEFINE_float("figure_width", None, "Width of figures in inches, such as a column's.")
FONT = flags.DEFINE_string("font", "DejaVu Sans", "Font of figures.")
FORMATS = flags.DEFINE_list("formats", ["png", "svg", "pdf"], "Formats of figures.")
FONT_SIZE = flags.DEFINE_float("font_size", 10.0, "Size of the texts in figures, in points.")


def main():
    """Run the program."""
    from mecheval_jax.reporting.figures import second_process
    from mecheval_jax.reporting.figures.look import Look, looking
    from mecheval_jax.reporting.html import report
    from mecheval_jax.reporting.terminal.progress import Working

    look = Look(WIDTH.value, FONT.value, FONT_SIZE.value, tuple(FORMATS.value))
    words = f"writing the report of {', '.join(WORKDIRS.value)}"
    with looking(look), second_process.writing(), Working(words):
        report.write(WORKDIRS.value, OUTPUT.value)


if __name__ == "__main__":
    command_line.run(main)
