"""A choice from end to end: planned, trained, judged, priced, and advised on; it resumes anywhere.

Everything that was done is read from the folder, so that the same command goes on where it was
broken off: the plan stands in ``sweep.json``, groups have their checkpoints, circuits stand in the
summaries of their runs, and costs in ``cost/``.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mecheval_jax import costs
from mecheval_jax.console import say
from mecheval_jax.errors import TimeIsOver, UserError, one_line
from mecheval_jax.evaluation.subject import documents_of
from mecheval_jax.evaluation.verdict.measurement import why_not_judged
from mecheval_jax.machine import is_out_of_memory
from mecheval_jax.models.own_mixers import check_own_mixers
from mecheval_jax.selection.advice import advise
from mecheval_jax.selection.circuit import measure_circuit
from mecheval_jax.selection.deadline import Deadline
from mecheval_jax.selection.opening import planned, shapes_of
from mecheval_jax.selection.places import measure_places
from mecheval_jax.selection.plan import TRAINING_SHARE, Size, changes_of
from mecheval_jax.selection.request import Asked, ChoiceRequest, Commands
from mecheval_jax.selection.table import choice_table
from mecheval_jax.selection.timing import options_of
from mecheval_jax.store import own_code
from mecheval_jax.store.choice import CHOICE, Advice, ChoiceFolder
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.sweep_folder import GroupFolder, GroupStatus
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import Sweep, plan
from mecheval_jax.sweeps.run import SweepOutcome, collect, run_sweep
from mecheval_jax.training.config import TrainingConfig


class Choice(NamedTuple):
    """A choice that was made.

    Attributes:
        advice: The advice.
        outcome: How the groups of its sweep ended.
    """

    advice: Advice
    outcome: SweepOutcome


def choose_architecture(
    request: ChoiceRequest, workdir: str | os.PathLike, arguments: Sequence[str] = ()
) -> Choice:
    """Make a choice, or go on with one.

    Args:
        request: What is asked for.
        workdir: Folder of the choice.
        arguments: Arguments of the program that asks, which the advice repeats.

    Raises:
        UserError: If the folder holds something else, another program makes the choice, or the
            budget is too small.
        Interrupted: If SIGTERM or Ctrl-C came; the same command resumes.
    """
    folder, clock = ChoiceFolder(workdir), Deadline(time.monotonic(), request.budget)
    folder.contents()  # refuses a file in the folder's place
    with folder.lock(CHOICE):
        return _choose(folder, clock, request, arguments)


def _choose(
    folder: ChoiceFolder, clock: Deadline, request: ChoiceRequest, arguments: Sequence[str]
) -> Choice:
    """Plan, train, measure and conclude in a folder that nobody else works on."""
    unjudged = _checked(request)
    sweep = planned(folder, request, clock)
    if unjudged:
        say(f"answers are looked at alone, and no mechanism: {unjudged}")
    options = Options(interventions="none" if unjudged else "verdict")
    shapes, how = shapes_of(sweep), options_of(request)
    near = dataclasses.replace(how, lengths=how.lengths[:1])
    # All tables of what was measured so far, since the page of the sweep shows them.
    costs.continue_measuring(shapes, folder.cost, near, until=time.monotonic())
    outcome = _trained(sweep, folder, options, clock)
    # What is dear is done last, so that a small budget lacks that alone.
    costs.continue_measuring(shapes, folder.cost, near, clock.until())
    if not unjudged:
        _measured(measure_circuit, folder, sweep, clock)
    costs.continue_measuring(shapes, folder.cost, how, clock.until())
    if not unjudged:
        _measured(measure_places, folder, sweep, clock)
    if clock.is_over:
        say("the budget is over: costs and circuits that are missing have a dash in the table")
    found_in = own_code.python_path(",".join(request.mixers))
    commands = Commands(tuple(arguments), str(folder.path), found_in)
    return Choice(_concluded(folder, sweep, request, commands, outcome), outcome)


def _checked(request: ChoiceRequest) -> str | None:
    """Check what is asked for, before a step is measured and a plan is written.

    Returns:
        The reason why no mechanism is looked at; None if they are.

    Raises:
        UserError: If a run cannot be, or two are the same, or roles or corruptions are asked for
            that documents lack, or a mixer of the user's own does not keep what mixers promise.
    """
    experiment, shapes = request.experiment, request.shapes()
    everything = Size(request.widths, request.rates, request.seeds)
    plan(experiment.as_dict(), changes_of(request, everything, [*shapes]))
    unjudged = why_not_judged(experiment.task, documents_of(experiment))
    if not unjudged:
        experiment.evaluation.check_against(experiment.task)
    for model in shapes.values():
        check_own_mixers(model)
    return unjudged


def _trained(sweep: Sweep, folder: ChoiceFolder, options: Options, clock: Deadline) -> SweepOutcome:
    """Train and judge, as long as there is time.

    Raises:
        Interrupted: If SIGTERM or Ctrl-C came.
    """
    try:
        return run_sweep(sweep, folder.path, options, until=clock.until(TRAINING_SHARE))
    except TimeIsOver:
        say("the time for training is over: going on with what is finished")
        collect(folder)
        return SweepOutcome(_failures(sweep, folder))


def _failures(sweep: Sweep, folder: ChoiceFolder) -> dict[str, Exception]:
    """Groups that have failed by what their statuses say, with the error of each."""
    left_out, failed = LeftOut(), {}
    for group in sweep.groups:
        status = left_out.part(group.name, folder.group(group.name).read_status, GroupStatus())
        if status.state == "failed":
            failed[group.name] = RuntimeError(status.error)
    return failed


def read_again(training: TrainingConfig, there: int | None) -> tuple[int | None, float | None]:
    """Number of train documents that a training reads again, and how often it reads each.

    Args:
        training: The training.
        there: Number of train documents that there are; None if they are made without end.

    Returns:
        None and None where each document is made anew.
    """
    read, found = training.steps * training.batch_size, [there]
    if training.training_batches is not None and training.training_batches < training.steps:
        found.append(training.training_batches * training.batch_size)
    documents = min((number for number in found if number is not None), default=None)
    return documents, None if documents is None else read / documents


def _measured(
    measure: Callable[[GroupFolder], None], folder: ChoiceFolder, sweep: Sweep, clock: Deadline
) -> None:
    """Measure something of each shape's best run, as long as there is time.

    A shape of which a file is damaged, or for which there is no memory, is passed over, and said.
    """
    left_out = LeftOut()
    for group in sweep.groups:
        if not clock.is_over:
            one = functools.partial(_as_memory_allows, measure, folder.group(group.name))
            left_out.part(group.name, one, None)


def _as_memory_allows(measure: Callable[[GroupFolder], None], group: GroupFolder) -> None:
    """Measure something of a group.

    Raises:
        UserError: If there is no memory for it, or a file is damaged.
    """
    try:
        measure(group)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"there is no memory to measure it: {one_line(error, 300)}") from None


def _concluded(
    folder: ChoiceFolder,
    sweep: Sweep,
    request: ChoiceRequest,
    commands: Commands,
    outcome: SweepOutcome,
) -> Advice:
    """The table and the advice, written and said, and the page."""
    folder.write_choice(choice_table(folder, sweep.groups, request.lengths[0]))
    table, training = folder.read_choice(), request.experiment.training
    documents, epochs = read_again(training, request.experiment.task.sizes().get("train"))
    rates = dict.fromkeys(e.training.learning_rate for e in sweep.experiments)
    asked = Asked(
        commands=commands,
        cheapest=request.cheapest,
        rates=tuple(rates),
        seeds=request.seeds,
        steps=training.steps,
        epochs=epochs,
        documents=documents,
        failed={name: one_line(error, 300) for name, error in outcome.failed.items()},
    )
    advice = advise(table, asked)
    folder.write_advice(advice)
    collect(folder)
    for name, error in outcome.failed.items():
        say(f"{name} failed: {error}")
    return advice
