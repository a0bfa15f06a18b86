"""Where a shape's best run holds the answer and what its mixers read, kept in the run's folder.

Verdicts of a choice are measured without a grid, which costs as much for every run. The page shows
one of each shape that has learned.
"""

from mecheval_jax import runs
from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import RESTORE
from mecheval_jax.evaluation.patching.cells import Cells
from mecheval_jax.evaluation.patching.grid import grid
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.readings import summary_has_learned
from mecheval_jax.files import read_table
from mecheval_jax.selection.table import chosen_member
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.results import record_grid
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder

DOCUMENTS = 256
"""Greatest number of documents on which a grid is measured."""

MOST_TOKENS = 512
"""Length of a document up to which effective attention is measured: its table grows with the
square of it."""


def measure_places(group: GroupFolder) -> None:
    """Measure the grid and the effective attention of a group's best run, if it has learned.

    What is there already stays as it is.
    """
    chosen = chosen_member(group)
    if chosen is None:
        return
    folder = RunFolder(group.member(chosen["member"]))
    if not summary_has_learned(folder.read_finished()):
        return
    if (
        not folder.interchange.exists()
        or read_table(folder.interchange, remedy=written_by("intervene")).empty
    ):
        _measure_grid(folder)
    if not folder.analysis("attention").exists():
        _measure_attention(folder)


def _measure_grid(folder: RunFolder) -> None:
    say(f"{folder.path}: which places restore the answer")
    run = runs.load(folder.path)
    experiment = run.experiment.with_evaluation(
        documents=min(DOCUMENTS, run.experiment.evaluation.documents),
        directions=(RESTORE,),
    )
    with folder.lock("interventions"):
        rows = Cells(grid(Subject.of(experiment, run.params))).rows()
        record_grid(folder, experiment, run.step, rows)


def _measure_attention(folder: RunFolder) -> None:
    length = folder.experiment().task.max_length
    if length > MOST_TOKENS:
        say(f"{folder.path}: no effective attention on {length:,} tokens, which is too much")
        return
    try:
        runs.analyze(folder.path, "attention")
    except UserError as error:  # the mixer is not linear in its values
        say(f"no effective attention: {error}")
