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
from typing import Any

import jax
import pandas as pd

from mecheval_jax import costs
from mecheval_jax.console import say
from mecheval_jax.errors import Interrupted, UserError
from mecheval_jax.evaluation.subject import documents_of
from mecheval_jax.evaluation.verdict.measurement import why_not_judged
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import write_json
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.selection.advice import Asked, advise
from mecheval_jax.selection.circuit import measure_circuit
from mecheval_jax.selection.places import measure_places
from mecheval_jax.selection.plan import MEASURING_SHARE, TRAINING_SHARE, Plan, fit, sweep_of
from mecheval_jax.selection.request import ChoiceRequest, Commands, commands_of, words_of_time
from mecheval_jax.selection.table import choice_table
from mecheval_jax.selection.timing import measure_steps, options_of
from mecheval_jax.selection.words import counted
from mecheval_jax.store.choice import CHOICE, Advice, ChoiceFolder
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import Sweep, open_folder, plan_of
from mecheval_jax.sweeps.run import SweepOutcome, collect, run_sweep


@dataclasses.dataclass(frozen=True)
class Deadline:
    """When a choice has to be done.

    Attributes:
        began: When it began, of `time.monotonic`.
        budget: Seconds that it has; None for no end.
    """

    began: float
    budget: float | None

    @property
    def left(self) -> float | None:
        """Seconds that are left; None for no end."""
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def until(self, share: float = 1.0) -> float | None:
        """When a share of the budget is spent; None for never."""
        return None if self.budget is None else self.began + share * self.budget

    @property
    def is_over(self) -> bool:
        """Whether all of it is spent."""
        return self.left is not None and self.left <= 0


def choose_architecture(
    request: ChoiceRequest, workdir: str | os.PathLike, arguments: Sequence[str] = ()
) -> Advice:
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
) -> Advice:
    """Plan, train, measure and conclude in a folder that nobody else works on."""
    sweep = _planned(folder, request, clock)
    judged = why_not_judged(request.experiment.task, documents_of(request.experiment))
    if judged:
        say(f"answers are looked at alone, and no mechanism: {judged}")
    options = Options(interventions="none" if judged else "verdict")
    shapes, how = shapes_of(sweep), options_of(request)
    near = dataclasses.replace(how, lengths=how.lengths[:1])
    # All tables of what was measured so far, since the page of the sweep shows them.
    costs.continue_measuring(shapes, folder.cost, near, until=time.monotonic())
    outcome = _trained(sweep, folder, options, clock)
    # What is dear is done last, so that a small budget lacks that alone.
    costs.continue_measuring(shapes, folder.cost, near, clock.until())
    if not judged:
        _measured(measure_circuit, folder, sweep, clock)
    costs.continue_measuring(shapes, folder.cost, how, clock.until())
    if not judged:
        _measured(measure_places, folder, sweep, clock)
    if clock.is_over:
        say("the budget is over: costs and circuits that are missing have a dash in the table")
    commands = commands_of(arguments, str(folder.path))
    return _concluded(folder, sweep, request, commands, outcome)


def shapes_of(sweep: Sweep) -> dict[str, ModelConfig]:
    """Models of a sweep by the names that they have among its costs."""
    models = [group.experiments[0].model for group in sweep.groups]
    return {f"{model.mixer}, width {model.width}": model for model in models}


def _planned(folder: ChoiceFolder, request: ChoiceRequest, clock: Deadline) -> Sweep:
    """The runs: those that the folder is planned for, or as many as fit the budget."""
    # A folder that has a plan goes on with it.
    if folder.sweep.exists():
        sweep = plan_of(folder.read(), folder.sweep)
        _check_same(folder, sweep, request)
        say(f"{folder.path}: going on with {_runs(sweep)}")
        write_json(folder.plan, folder.read_plan() | _costs_asked(request))
        return sweep
    if there := folder.contents() - {folder.provenance.name}:
        raise UserError(
            f"workdir {folder.path} is not empty ({', '.join(sorted(there)[:3])}) and holds no "
            "choice: choose another"
        )
    # Measure a training step of every architecture, and plan what fits.
    model = request.experiment.model
    models = {
        mixer: dataclasses.replace(model, width=max(request.widths), **model.changes_to(mixer))
        for mixer in request.mixers
    }
    how = options_of(request)
    first = dataclasses.replace(how, lengths=how.lengths[:1], programs=("training",))
    each = counted(len(models), "architecture")
    say(f"a training step of each of {each} is measured before the plan")
    timings, rows = measure_steps(models, first, clock.until(MEASURING_SHARE))
    plan = fit(request, timings, clock.left, jax.device_count())
    sweep = sweep_of(request, plan.size, timings)
    _announce(sweep, plan, request)
    # Write the plan down, with what was measured for it.
    open_folder(folder, sweep)
    write_json(
        folder.plan,
        _costs_asked(request)
        | {
            "budget_seconds": request.budget,
            "estimated_seconds": plan.seconds,
            "given_up": list(plan.given_up),
            "step_seconds": {name: timing.step for name, timing in timings.items()},
            "compile_seconds": {name: timing.compile for name, timing in timings.items()},
            "documents": request.experiment.task.sizes(),
        },
    )
    folder.cost.path.mkdir(exist_ok=True)
    named = [row | {"model": f"{row['model']}, width {row['width']}"} for row in rows]
    # Steps were measured at the greatest width, which may be none of the planned ones.
    if of_sweep := [row for row in named if row["model"] in shapes_of(sweep)]:
        folder.cost.write_costs(pd.DataFrame(of_sweep))
    return sweep


def _costs_asked(request: ChoiceRequest) -> dict[str, Any]:
    """What a resumed choice may be asked otherwise, since no training depends on it."""
    return {
        "length": request.length,
        "lengths": list(request.lengths),
        "cheapest": request.cheapest,
    }


def _check_same(folder: ChoiceFolder, sweep: Sweep, request: ChoiceRequest) -> None:
    """Check that a folder's runs are of the choice that is asked for.

    Raises:
        UserError: If they are not.
    """
    ours, theirs = request.experiment, Experiment.from_config(sweep.base)
    mixers = dict.fromkeys(group.experiments[0].model.mixer for group in sweep.groups)
    # A budget may have left some of what was asked for, but nothing else is planned.
    widths = {one.model.width for one in sweep.experiments}
    rates = {one.training.learning_rate for one in sweep.experiments}
    seeds = len({one.training.seed for one in sweep.experiments})
    what = None
    if ours.fingerprint() != theirs.fingerprint():
        what = "another task, model or training"
    elif set(mixers) != set(request.mixers):
        what = f"the architectures {'; '.join(mixers)}"
    elif not widths <= set(request.widths):
        what = f"--widths={','.join(map(str, sorted(widths)))}"
    elif not rates <= set(request.rates):
        what = f"--learning_rates={','.join(f'{rate:g}' for rate in sorted(rates))}"
    elif seeds > request.seeds:
        what = f"--seeds={seeds}"
    if what:
        raise UserError(f"workdir {folder.path} holds a choice of {what}: take another workdir")


def _runs(sweep: Sweep) -> str:
    runs, groups = len(sweep.changes), len(sweep.groups)
    steps = f"{sweep.groups[0].steps:,} steps"
    return f"{counted(runs, 'run')} of {steps}, in {counted(groups, 'shape')}"


def _announce(sweep: Sweep, plan: Plan, request: ChoiceRequest) -> None:
    """Say what will be done, and how long it takes."""
    size = plan.size
    rates = ", ".join(f"{rate:g}" for rate in size.rates)
    say(
        f"plan: {'; '.join(request.mixers)} at width {', '.join(map(str, size.widths))}, learning "
        f"rate {rates}, {counted(size.seeds, 'seed')}: {_runs(sweep)}"
    )
    of_budget = f" of {words_of_time(request.budget)}" if request.budget else ""
    say(
        f"plan: about {words_of_time(plan.seconds)}{of_budget} for training and interventions, "
        f"then costs at {', '.join(f'{length:,}' for length in request.lengths)} tokens"
    )
    if plan.given_up:
        say(f"plan: without {'; '.join(plan.given_up)}, which the budget has no time for")


def _trained(sweep: Sweep, folder: ChoiceFolder, options: Options, clock: Deadline) -> SweepOutcome:
    """Train and judge, as long as there is time.

    Raises:
        Interrupted: If SIGTERM or Ctrl-C came.
    """
    until = clock.until(TRAINING_SHARE)
    try:
        return run_sweep(sweep, folder.path, options, until=until)
    except Interrupted:
        if until is None or time.monotonic() < until:
            raise
        say("the time for training is over: going on with what is finished")
        collect(folder)
        return SweepOutcome({})


def _measured(
    measure: Callable[[GroupFolder], None], folder: ChoiceFolder, sweep: Sweep, clock: Deadline
) -> None:
    """Measure something of each shape's best run, as long as there is time.

    A shape of which a file is damaged is passed over, and said.
    """
    left_out = LeftOut()
    for group in sweep.groups:
        if not clock.is_over:
            one = functools.partial(measure, folder.group(group.name))
            left_out.part(group.name, one, None)


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
    documents = request.experiment.task.sizes().get("train")
    rates = dict.fromkeys(e.training.learning_rate for e in sweep.experiments)
    asked = Asked(
        commands=commands,
        cheapest=request.cheapest,
        rates=tuple(rates),
        seeds=request.seeds,
        steps=training.steps,
        epochs=training.steps * training.batch_size / documents if documents else None,
        documents=documents,
    )
    advice = advise(table, asked)
    folder.write_advice(advice)
    collect(folder)
    for name, error in outcome.failed.items():
        say(f"{name} failed: {error}")
    return advice
