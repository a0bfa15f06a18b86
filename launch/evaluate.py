"""Analyse a trained run beyond its verdict: gradients, circuits, probes, subspaces, and more.

    python -m launch.evaluate --workdir=DIR [--analyses=gradients,probes,...] [--sites=all]
        [--set=probes.documents=4096]

Writes a table ``analyses/NAME.csv`` and a figure for each; ``python -m launch.report`` shows them.
``gradients``: attribution of every site by gradients, beside the measured one; ``circuits``: the
edges that carry the answer; ``probes``: the places at which key, value and pair can be read off;
``subspaces``: the subspaces that carry them; ``attention``: the tokens that each mixer reads;
``lens``: the answer after each layer. Of memory: ``capacity`` (recall over the number of pairs),
``generalization`` (other sizes than the trained one), ``editing`` (one pair changed in the state),
``overwriting`` (what is left of a pair that was bound again), ``components`` (heads and layers
switched off). Each takes a few seconds to some minutes.
"""

from absl import flags

from mecheval_jax import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
ANALYSES = flags.DEFINE_list("analyses", None, "Names of the analyses; all if not given.")
SITES = flags.DEFINE_list(
    "sites",
    None,
    "Sites of gradients and probes: paths, or 'all'; the canonical components if not given.",
)
SET = flags.DEFINE_multi_string(
    "set",
    [],
    "An option of an analysis, analysis.field=value, as in probes.documents=4096; may be repeated.",
)
DOCUMENTS = flags.DEFINE_integer("documents", None, "Evaluation documents.")


def main():
    """Run the program."""
    from mecheval_jax import runs
    from mecheval_jax.reporting.terminal import tables

    changes = command_line.given(DOCUMENTS)
    found = runs.analyze(WORKDIR.value, ANALYSES.value, SITES.value, SET.value, **changes)
    tables.show_analyses(found)


if __name__ == "__main__":
    command_line.run(main)
