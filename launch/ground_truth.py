"""Test the instrument on models whose mechanism is known: the ladder of known circuits.

    python -m launch.ground_truth --workdir=DIR [--rungs=edges,subspaces,trained] [--seeds=2]
    python -m launch.ground_truth --workdir=DIR --rungs=collection --collection=FILE.safetensors

Grades the methods that score edges on planted models (AUROC against the known edges), the search
for subspaces (angles with the planted one), and the verdict on models that were trained to a
mechanism, which it is not told. Writes a table for each rung, ``confusion.csv``, the models that
were trained, and the figure ``ground_truth.png``. The same command resumes (docs/ground_truth.md).
"""

import pathlib

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the results.", required=True)
RUNGS = flags.DEFINE_list(
    "rungs", ["edges", "subspaces", "trained"], "Rungs: edges, subspaces, trained, collection."
)
SEEDS = flags.DEFINE_integer("seeds", 2, "Models of each kind.")
STEPS = flags.DEFINE_integer("steps", 0, "Steps of training; those of each architecture if 0.")
FILE = flags.DEFINE_string("collection", None, "Collection of trained models to be judged.")


def main():
    """Run the program."""
    from mecheval_jax.ground_truth import ladder
    from mecheval_jax.reporting.terminal.ground_truth import show_ladder

    collection = None if FILE.value is None else pathlib.Path(FILE.value)
    folder = pathlib.Path(WORKDIR.value)
    asked = ladder.LadderRequest(folder, tuple(RUNGS.value), SEEDS.value, STEPS.value, collection)
    show_ladder(ladder.climb(asked))


if __name__ == "__main__":
    command_line.run(main)
