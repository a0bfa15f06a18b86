"""Show the progress of a sweep or a run: running or dead, how far, how well, and what next.

    python -m launch.status --workdir=DIR [--json]

Reads files alone, so it works at any time, on any machine that sees them.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a sweep or a run.", required=True)
JSON = flags.DEFINE_bool("json", False, "Print JSON instead of a table.")
PATIENCE = flags.DEFINE_float(
    "patience",
    600.0,
    "Seconds without writing after which a group on another machine counts as dead.",
    lower_bound=0,
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
