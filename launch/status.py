"""How a sweep, or a run, is doing: running or dead, how far, how well, and what to do next.

    python -m launch.status --workdir=DIR [--json]

Reads files alone, so it may be asked on any machine that sees them, at any time.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a sweep or a run.", required=True)
JSON = flags.DEFINE_bool("json", False, "Print JSON instead of a table.")
PATIENCE = flags.DEFINE_float(
    "patience", 600.0, "Seconds without a sign of life, from another machine, that mean death."
)


def main():
    """Run the program."""
    from mecheval_jax.reporting.terminal import live
    from mecheval_jax.store import status as sweep_status

    overview = sweep_status.read_overview(WORKDIR.value, PATIENCE.value)
    show = live.print_overview if JSON.value else live.show_overview
    show(overview)


if __name__ == "__main__":
    command_line.run(main)
