"""A run from end to end: train it, load it, intervene on it, report it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.attribution import Scores
from mecheval_jax.evaluation.behaviour import answer_all, documents_of, evaluate, summarize
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.interchange import Grid, measure
from mecheval_jax.evaluation.mechanism import CORRUPTION, Verdict, judge
from mecheval_jax.evaluation.slices import as_csv, slice_accuracy
from mecheval_jax.experiment import Experiment
from mecheval_jax.partitioning.mesh import check_batch, make_mesh
from mecheval_jax.reporting.progress import Progress, say
from mecheval_jax.reporting.writers import JsonLines
from mecheval_jax.run_folder import RunFolder, write_text
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.loop import Diverged, fit, restore_or_create
from mecheval_jax.training.state import abstract_state


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with what it was trained on.

    Attributes:
        folder: its files.
        experiment: its config.
        params: parameters of the newest checkpoint.
        step: the step of that checkpoint.
    """

    folder: RunFolder
    experiment: Experiment
    params: PyTree
    step: int


class _Hooks:
    """Training hooks that write to the run folder and show progress."""

    def __init__(self, writer: JsonLines, progress: Progress):
        self._writer, self._progress = writer, progress

    def record(self, values: Mapping[str, float | int | str]) -> None:
        self._writer.write(values)

    def advance(self, step: int, note: str) -> None:
        self._progress.advance(step, note)

    def say(self, message: str) -> None:
        say(message)


class _Say(_Hooks):
    """Hooks where nothing is trained: messages only."""

    def __init__(self):
        pass


def train(
    experiment: Experiment, workdir: str | os.PathLike, mesh: Mesh | None = None
) -> RunFolder:
    """Train to the end, or on from where a broken run stands; a finished one is skipped.

    Raises:
        UserError: a workdir that holds something else, a batch that does not divide over
            the devices; `Diverged` where the loss is no longer finite.
    """
    mesh = make_mesh() if mesh is None else mesh
    check_batch(experiment.training.batch_size, mesh)
    folder = RunFolder(workdir)
    folder.open(experiment)
    model, task, training = experiment.model, experiment.task, experiment.training
    checkpoints = Checkpoints(folder.checkpoints)
    if folder.read_summary().get("finished") and training.steps in checkpoints.steps():
        checkpoints.close()
        say(f"{folder.path}: this run is finished, nothing to train")
        return folder
    try:
        state = restore_or_create(model, training, mesh, checkpoints, _Say())
        step = int(state.step)
        folder.forget_after(step)
        title = f"training {model.mixer} {folder.name}"
        writer = JsonLines(folder.metrics)
        with Progress(title, training.steps, step) as progress:
            hooks = _Hooks(writer, progress)
            state = fit(state, model, task, training, mesh, checkpoints, hooks)
        writer.close()
    except Diverged as error:
        folder.update_summary(finished=False, diverged_at=error.step)
        raise
    finally:
        checkpoints.close()
    batch = documents_of(experiment)
    answers = answer_all(state.params, experiment, batch)
    scores = summarize(answers, experiment, batch)
    rows = slice_accuracy(
        task.properties(batch), answers.correct, batch.weights, experiment.evaluation.confidence
    )
    write_text(folder.slices, as_csv(rows))
    folder.update_summary(
        finished=True,
        step=training.steps,
        mixer=model.mixer,
        width=model.width,
        layers=model.layers,
        learning_rate=training.learning_rate,
        seed=training.seed,
        **scores,
    )
    say(
        f"{folder.path}: {experiment.evaluation.split} accuracy {scores['accuracy']:.1%} "
        f"[{scores['accuracy_low']:.1%}, {scores['accuracy_high']:.1%}] "
        f"(best heuristic without recall {scores['floors']['best']:.1%})"
    )
    return folder


def load(workdir: str | os.PathLike) -> Run:
    """The trained model of a run folder.

    Raises:
        UserError: no run there, or no checkpoint that can be read.
    """
    folder = RunFolder(workdir)
    experiment = folder.experiment()
    if not folder.checkpoints.exists():
        raise UserError(f"{folder.path} has no checkpoint yet: train it first")
    checkpoints = Checkpoints(folder.checkpoints)
    mesh = make_mesh(jax.devices()[:1])
    abstract = abstract_state(experiment.model, experiment.training, mesh)
    state = checkpoints.restore(abstract, _Say(), set_aside=False)
    checkpoints.close()
    if state is None:
        raise UserError(f"{folder.path} has no checkpoint that can be read: train it first")
    return Run(folder, experiment, jax.device_get(state.params), int(state.step))


def intervene(
    workdir: str | os.PathLike,
    sites: Sequence[str] | None = None,
    **changes: object,
) -> tuple[Any, Verdict | None]:
    """Measure the interchange grid of a run, write ``interchange.csv`` and the verdict.

    Args:
        workdir: folder of a trained run.
        sites: paths or aliases; the canonical components of every layer if None.
        **changes: fields of `EvaluationConfig` that differ from the run's config.

    Returns:
        The table (a pandas DataFrame), and the verdict; None where the grid lacks what it needs.

    Raises:
        UserError: nothing trained there, an unknown site, role, corruption or direction.
    """
    from mecheval_jax.evaluation.tables import interchange_table  # pandas: slow to import

    run = load(workdir)
    evaluation = dataclasses.replace(run.experiment.evaluation, **changes)
    experiment = dataclasses.replace(run.experiment, evaluation=evaluation)
    model, folder = experiment.model, run.folder
    if run.step != experiment.training.steps:
        say(f"{folder.path}: training is not finished; reading step {run.step}")
    batch = documents_of(experiment)
    say(f"{folder.path}: interchange interventions over {evaluation.documents} documents")
    grid = measure(model, run.params, experiment.task, batch, evaluation, sites)
    scores = Scores(grid, evaluation)
    constants = {
        "run": folder.name,
        "mixer": model.mixer,
        "width": model.width,
        "layers": model.layers,
        "learning_rate": experiment.training.learning_rate,
        "seed": experiment.training.seed,
        "step": run.step,
        "split": evaluation.split,
    }
    table = interchange_table(scores, constants)
    write_text(folder.interchange, table.to_csv(index=False))
    verdict = None
    if _can_judge(grid, evaluation, model.layers):
        behaviour = evaluate(run.params, experiment, batch)
        verdict = judge(
            scores, model.layers, behaviour["accuracy_low"], behaviour["floors"]["best"]
        )
        folder.update_summary(**behaviour, evidence_step=run.step, **verdict.as_dict())
    else:  # the table that an earlier verdict rested on is no more
        folder.forget_in_summary("evidence_step", *(f.name for f in dataclasses.fields(Verdict)))
    return table, verdict


def _can_judge(grid: Grid, evaluation: EvaluationConfig, layers: int) -> bool:
    """Whether a grid has the residual stream and the roles that a verdict looks at."""
    needed = {f"block_{layer}/block_output" for layer in range(layers)}
    needed |= {f"block_{layer}/block_input" for layer in range(1, layers)}
    return (
        needed <= set(grid.sites)
        and {"key", "value", "query"} <= set(grid.roles)
        and CORRUPTION in evaluation.corruptions
        and "restore" in evaluation.directions
    )
