"""A run from end to end: training, loading, interventions, analyses."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mecheval_jax.array_types import PyTree
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose, expect, several
from mecheval_jax.evaluation.accuracy import answer_all
from mecheval_jax.evaluation.patching.grid import chosen_sites
from mecheval_jax.evaluation.question import corruption_key
from mecheval_jax.evaluation.subject import Subject, documents_of
from mecheval_jax.evaluation.verdict import pooling
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.measurement import measure_verdict, why_not_judged
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.experiment import Experiment
from mecheval_jax.fields import field_value
from mecheval_jax.files import write_table
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.partitioning import multihost
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.reporting.terminal.progress import Progress, RunCallbacks, Working
from mecheval_jax.store.columns import long_table
from mecheval_jax.store.metrics import open_writers
from mecheval_jax.store.provenance import versions
from mecheval_jax.store.results import record_answers, record_judged
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.trackers import check_trackers
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.checks import check_training
from mecheval_jax.training.device_programs import RunPrograms
from mecheval_jax.training.loop import fit, restore_or_create
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.preemption import Preemption
from mecheval_jax.training.state import Diverged, Policy, hyperparameters_of, new_state


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with its experiment.

    Attributes:
        folder: Folder of the run.
        experiment: Config of the run.
        params: Parameters of the checkpoint that was loaded.
        step: Training step of that checkpoint.
    """

    folder: RunFolder
    experiment: Experiment
    params: PyTree
    step: int

    @property
    def model(self) -> LanguageModel:
        """The model that the parameters belong to."""
        return LanguageModel(self.experiment.model)

    @property
    def task(self) -> Task:
        """Task of the documents."""
        return self.experiment.task

    def documents(self, count: int | None = None, split: str | None = None) -> Batch:
        """Documents of the run's task, the same at every call.

        Args:
            count: Number of documents; that of the run's evaluation if None.
            split: ``train``, ``dev`` or ``test``; that of the run's evaluation if None.

        Raises:
            UserError: If the split does not exist, or has fewer documents.
        """
        asked = {"documents": count, "split": split}
        changes = {name: value for name, value in asked.items() if value is not None}
        return documents_of(self.experiment.with_evaluation(**changes))

    def corrupt(self, batch: Batch, corruption: str = "key", seed: int = 0) -> Batch:
        """The documents with one token of each replaced by another of its class.

        Args:
            batch: Documents of the run's task.
            corruption: Role whose token is replaced, one of the task's corruptions.
            seed: Seed of the replacements, the grid's with that of the evaluation.

        Raises:
            UserError: If the task has no such corruption.
        """
        expect("the batch", batch, Batch, "documents, as Run.documents gives them")
        choose("corruption", corruption, self.task.corruptions)
        seed = field_value("seed", seed, int)
        key = corruption_key(seed, self.task.corruptions.index(corruption))
        return batch.replace(tokens=self.task.corrupt(key, batch, corruption))


def train(
    experiment: Experiment,
    workdir: str | os.PathLike,
    mesh: Mesh | None = None,
    writers: Sequence[str] = (),
) -> RunFolder:
    """Train a run to its end, from its newest checkpoint if there is one; skip a finished one.

    With several processes (`partitioning.multihost`) each calls this, and the first writes.

    Args:
        experiment: Experiment of the run.
        workdir: Folder of the run.
        mesh: Mesh of the devices; all of them if None.
        writers: Names of trackers (`TRACKERS`) that get the metrics beside ``metrics.jsonl`` and
            ``metrics.csv``.

    Raises:
        UserError: If the workdir holds other files, the batch does not divide over the devices, the
            machine has not enough memory, a writer is unknown or not installed, or processes have
            different arguments.
        Diverged: If the loss is not finite.
        Interrupted: If SIGTERM or Ctrl-C came, and the state is saved; or a process is gone.
    """
    # Everything is checked before the folder is touched.
    expect("the experiment", experiment, Experiment, "that of Experiment.from_config")
    expect("the mesh", mesh, (Mesh, type(None)), "a mesh, as partitioning.mesh.make_mesh gives it")
    check_trackers(writers)
    mesh = make_mesh() if mesh is None else mesh
    documents = experiment.evaluation.documents
    check_training(experiment.model, experiment.task, experiment.training, documents)
    runs = (experiment.training,)
    # Train in the locked folder, on all hosts, and evaluate what was trained.
    programs = RunPrograms(Ensemble(experiment.model, experiment.task, runs), mesh)
    with multihost.raise_on_host_loss(), Preemption() as preemption:
        multihost.assert_equal_across_hosts(
            config=json.dumps(experiment.as_dict(), sort_keys=True),
            workdir=str(workdir),
            mesh=str(mesh.shape),
            versions=json.dumps(versions()),
        )
        folder = RunFolder(workdir)
        folder.contents()  # refuses a file in the folder's place
        with folder.lock("training"):
            folder.open(experiment)
            folder.begin_measuring(experiment)
            kept = Checkpoints.of_training(folder.checkpoints, experiment.training)
            with contextlib.closing(kept) as checkpoints:
                if checkpoints.has_whole(folder.measured_at(experiment)):
                    say(f"{folder.path}: this run is finished, nothing to train")
                else:  # a finished run has other answers under another evaluation
                    saved = _train(experiment, folder, programs, checkpoints, preemption, writers)
                    params, step = multihost.fetch((saved["params"], saved["step"]))
                    _summarize(experiment, folder, params, int(step))
    return folder


def _train(
    experiment: Experiment,
    folder: RunFolder,
    programs: RunPrograms,
    checkpoints: Checkpoints,
    preemption: Preemption,
    writers: Sequence[str],
) -> dict[str, PyTree]:
    """Train to the end, and return the content of the last checkpoint."""
    state, step = restore_or_create(programs, checkpoints, say)
    folder.go_on(experiment.model.mixer, step, lost=checkpoints.lost)
    title = f"training {experiment.model.mixer} in {folder.path}"
    with (
        open_writers(writers, folder.path) as writer,
        Progress(title, experiment.training.steps, step) as progress,
    ):
        callbacks = RunCallbacks(writer, progress, experiment.training.target_accuracy, step)
        try:
            state = fit(state, programs, checkpoints, callbacks, Policy.RAISE, preemption)
        except Diverged as error:
            folder.update_summary(finished=False, diverged_at=error.step)
            raise
    return programs.saved(state)


def _summarize(experiment: Experiment, folder: RunFolder, params: PyTree, step: int) -> None:
    """Write the answers of the trained model to the evaluation documents."""
    batch = documents_of(experiment)
    answers = answer_all(Subject.of(experiment, params, batch))
    scores = record_answers(folder, experiment, step, answers, batch)
    say(
        f"{folder.path}: {experiment.evaluation.split} accuracy {scores['accuracy']:.1%} "
        f"[{scores['accuracy_low']:.1%}, {scores['accuracy_high']:.1%}] "
        f"(best heuristic without recall {scores['floors']['best']:.1%})"
    )


def load(workdir: str | os.PathLike, step: int | None = None) -> Run:
    """The trained model of a run folder.

    Args:
        workdir: Folder of the run.
        step: Step of the checkpoint; the newest that can be read if None.

    Raises:
        UserError: If there is no run, no readable checkpoint, or one of another model.
    """
    folder = RunFolder(workdir)
    experiment, member = folder.experiment(), folder.read_member()
    new = jax.eval_shape(
        lambda: new_state(experiment.model, hyperparameters_of(experiment.training))
    )
    # The arrays of a member's sweep have a leading axis of members.
    members = () if member is None else (member.of,)
    wanted = jax.tree.map(
        lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), (*members, *leaf.shape)),
        {"step": new.step, "params": new.params},
    )
    with contextlib.closing(_checkpoints(folder, any_length=member is not None)) as kept:
        newest = step is None
        saved = kept.restore(wanted, say, set_aside=False) if newest else kept.read(step, wanted)
    if saved is None:
        raise UserError(f"{folder.path} has no checkpoint that can be read: train it again")
    own = ... if member is None else member.place
    saved = jax.tree.map(lambda leaf: jnp.asarray(leaf[own]), saved)
    return Run(folder, experiment, saved["params"], int(saved["step"]))


def kept_steps(workdir: str | os.PathLike) -> list[int]:
    """Steps of the checkpoints of a run folder, in order.

    Raises:
        UserError: If there is no run, or no checkpoint.
    """
    folder = RunFolder(workdir)
    folder.experiment()
    with contextlib.closing(_checkpoints(folder)) as checkpoints:
        steps = checkpoints.steps()
    if not steps:
        raise UserError(f"{folder.path} has no checkpoint yet: train it first")
    return steps


def _checkpoints(folder: RunFolder, *, any_length: bool = False) -> Checkpoints:
    if not folder.checkpoints.is_dir():
        raise UserError(f"{folder.path} has no checkpoint yet: train it first")
    return Checkpoints(folder.checkpoints, None, any_length=any_length)  # a reader deletes none


def intervene(
    workdir: str | os.PathLike,
    sites: Sequence[str] | None = None,
    steps: Sequence[int | str] | int | str | None = None,
    **changes: object,
) -> tuple[Any, Verdict | None]:
    """Measure the interchange grid of a run with its controls, and judge it.

    Writes ``interchange.csv``, ``controls.csv``, ``evidence.npz``, the verdict in ``summary.json``,
    and for several steps ``transitions.csv``.

    Args:
        workdir: Folder of a trained run.
        sites: Paths or aliases of sites; if None the canonical components of every layer and the
            convolution outputs that the verdict reads.
        steps: Steps of checkpoints; ``all`` for every kept one; the newest if None.
        **changes: Fields of `EvaluationConfig` that differ from the run's config.

    Returns:
        The table (a pandas DataFrame), and the verdict at the last of the steps, which does not
        depend on the sites, roles, corruptions and directions of the table. The verdict is None if
        the task has no pair to corrupt.

    Raises:
        UserError: If there is no trained run, a site, role, corruption, direction or step is
            unknown, or a list of them is empty.
    """
    # Everything is checked before the folder is locked.
    sites, steps = (None if given is None else several(given) for given in (sites, steps))
    for name, given in {"sites": sites, "steps": steps}.items():
        if given == ():
            raise UserError(f"{name} is empty: name at least one, or leave it out")
    folder = RunFolder(workdir)
    experiment = folder.experiment().with_evaluation(**changes)
    experiment.evaluation.check_against(experiment.task)
    # The checkpoints that are meant: the newest, all, or those of the given steps.
    kept = kept_steps(workdir)
    chosen: Sequence[int | None] = [None]
    if steps is not None:
        if steps == ("all",):
            chosen = kept
        else:
            valid = {str(step): step for step in kept}
            chosen = sorted({valid[choose("step", str(step), valid)] for step in steps})
    with folder.lock("interventions"):
        return _intervene(folder, experiment, sites, chosen)


def _intervene(
    folder: RunFolder,
    experiment: Experiment,
    sites: Sequence[str] | None,
    chosen: Sequence[int | None],
) -> tuple[Any, Verdict | None]:
    """Measure at every step that was chosen, and write what was found; see `intervene`."""
    batch, found = documents_of(experiment), {}
    if why := why_not_judged(experiment.task, batch):
        say(f"{folder.path}: {why}")
    for step in chosen:
        run = load(folder.path, step)
        if step is None and not folder.read_summary().get("finished"):
            say(f"{folder.path}: training is not finished; reading step {run.step}")
        documents = f"{experiment.evaluation.documents} documents, step {run.step}"
        with Working(f"{folder.path}: interchange interventions over {documents}"):
            found[run.step] = measure_verdict(Subject.of(experiment, run.params, batch), sites)
    return record_judged(folder, experiment, found)


def analyze(
    workdir: str | os.PathLike,
    names: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    **changes: object,
) -> dict[str, Any]:
    """Analyse a run: a table ``analyses/NAME.csv`` and a figure for each analysis.

    Args:
        workdir: Folder of a trained run.
        names: Names in `evaluation.analyses.ANALYSES`; all if None, and then those that the
            architecture or the task does not allow are passed over with a message.
        sites: Sites of ``gradients`` and ``probes``: paths or aliases; ``["all"]`` for every site
            of the model; the canonical components of every layer if None.
        settings: Options that differ from the run's config, as texts of
            `Experiment.with_analyses`: ``["probes.ridge=0.1"]``.
        **changes: Fields of `EvaluationConfig` that differ from the run's config.

    Returns:
        The tables (pandas DataFrames) by name.

    Raises:
        UserError: If an analysis, site or setting is unknown, or none is named, if there is no
            trained run, or if an analysis that was named is not possible.
    """
    # Imported here, since matplotlib and scipy.stats would make every training start later.
    from mecheval_jax.evaluation.analyses import ANALYSES, check
    from mecheval_jax.reporting.figures.analyses import FIGURES
    from mecheval_jax.reporting.figures.saving import save

    if names is not None and not (names := several(names)):
        raise UserError(f"no analysis is named: valid are {', '.join(ANALYSES)}")
    chosen = [choose("analysis", name, ANALYSES) for name in (names or ANALYSES)]
    run = load(workdir)
    experiment = run.experiment.with_evaluation(**changes).with_analyses(settings)
    places = None if sites is None else chosen_sites(sites, experiment.model)
    subject = Subject.of(experiment, run.params)
    check(names or (), subject, experiment.analyses)
    # Measure, and write a table and a figure of each.
    run.folder.analyses.mkdir(exist_ok=True)
    constants = {"run": run.folder.name, "mixer": experiment.model.mixer, "step": run.step}
    written: dict[str, Any] = {}
    for name in chosen:
        try:
            with Working(f"{run.folder.path}: {name}"):
                found = ANALYSES[name](subject, experiment.analyses, places)
            tables = {title: long_table(rows, constants) for title, rows in found.items()}
        except UserError as error:
            if names:
                raise
            say(f"{run.folder.path}: no {name}: {error}")
            continue
        for title, table in tables.items():
            write_table(run.folder.analysis(title), table)
        save(FIGURES[name](tables), run.folder.figures, name)
        written |= tables
    return written


def pool(workdirs: Sequence[str | os.PathLike]) -> tuple[Verdict, dict[str, Verdict]]:
    """The verdict on several runs together, which should differ in their seeds alone.

    Args:
        workdirs: Folders of runs on which `intervene` has been called.

    Returns:
        The verdict on those that have learned, and by its name that on each run.

    Raises:
        UserError: If a run has no evidence; see also `evaluation.verdict.pooling`.
    """
    once = {os.path.realpath(folder.path): folder for folder in map(RunFolder, workdirs)}
    folders = {str(folder.path): folder for folder in once.values()}
    experiments = {name: folder.experiment() for name, folder in folders.items()}
    pooling.check_population(experiments)
    pooling.check_measured_alike({name: folder.read_summary() for name, folder in folders.items()})
    found = {name: Evidence.read(folder.evidence) for name, folder in folders.items()}
    return pooling.judge_together(found, next(iter(experiments.values())).evaluation)
