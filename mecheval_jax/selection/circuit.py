"""The smallest faithful circuit of a shape's best run, kept in the summary of that run."""

import dataclasses

from mecheval_jax import runs
from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import CORRUPTION
from mecheval_jax.evaluation.patching.circuits import (
    measure_faithfulness,
    sizes_of,
    smallest_circuit,
)
from mecheval_jax.evaluation.patching.edge_scores import score_edges
from mecheval_jax.evaluation.patching.ports import NONE
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.readings import summary_has_learned
from mecheval_jax.selection.table import CIRCUIT, chosen_member
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder

DOCUMENTS = 64
"""Documents on which circuits are run: every edge is one more run of the model on all of them."""

MOST = 48
"""Greatest number of sizes of circuits that are run: of a graph with as many edges or more the
smallest one that is found is an upper bound."""


def measure_circuit(group: GroupFolder) -> None:
    """Measure the circuit of a group's best run, if it has learned and was not measured yet."""
    chosen = chosen_member(group)
    if chosen is None:
        return
    folder = RunFolder(group.member(chosen["member"]))
    summary = folder.read_finished()
    if CIRCUIT in summary or not summary_has_learned(summary):
        return
    say(f"{folder.path}: the smallest circuit that gives the answer")
    run = runs.load(folder.path)
    experiment = run.experiment.with_evaluation(
        documents=min(DOCUMENTS, run.experiment.evaluation.documents), corruptions=(CORRUPTION,)
    )
    subject = Subject.of(experiment, run.params)
    # Mixers as wholes: numbers of edges can then be compared between architectures.
    options = dataclasses.replace(experiment.analyses.circuits, ports=(NONE,))
    try:
        scores = score_edges(subject, options=options)
    except UserError as error:  # the architecture has no graph
        say(f"no circuit: {error}")
        folder.update_summary(**{CIRCUIT: None})
        return
    edges = len(scores.graph.edges)
    sizes = sizes_of(edges, MOST)
    measured = measure_faithfulness(subject, scores, draws=0, sizes=sizes)
    found = smallest_circuit(measured, CORRUPTION)
    folder.update_summary(**{CIRCUIT: None if found is None else found._asdict()})
