"""Measure how a trained run recalls: the interchange grid, its table and the verdict.

    python -m launch.intervene --workdir=DIR [--steps=all]

Writes ``interchange.csv``, ``controls.csv`` and the verdict in ``summary.json``; over several steps
``transitions.csv`` too. Flags replace options of the evaluation in the run's own config.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
SITES = flags.DEFINE_list(
    "sites",
    None,
    "Sites; the components of every layer and the convolution outputs if not given; all: every "
    "site inside the mixers too.",
)
STEPS = flags.DEFINE_list(
    "steps", None, "Steps of checkpoints; all: every one that is kept; the newest if not given."
)
ROLES = flags.DEFINE_list("roles", None, "Positions at which activations are exchanged.")
CORRUPTIONS = flags.DEFINE_list("corruptions", None, "Roles whose token is replaced.")
DIRECTIONS = flags.DEFINE_list(
    "directions", None, "restore, damage, or restore,damage, which is both of them."
)
DOCUMENTS = flags.DEFINE_integer("documents", None, "Evaluation documents.")
SPLIT = flags.DEFINE_string(
    "split", None, "Split: train, dev or test; new documents of it, but for those of a file."
)


def main():
    """Run the program."""
    from mecheval_jax import runs
    from mecheval_jax.reporting.terminal import tables

    changes = command_line.given(ROLES, CORRUPTIONS, DIRECTIONS, DOCUMENTS, SPLIT)
    table, verdict = runs.intervene(WORKDIR.value, SITES.value, STEPS.value, **changes)
    tables.show_interchange(table, verdict)


if __name__ == "__main__":
    command_line.run(main)
