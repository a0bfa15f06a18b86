"""What a choice begins with: the plan that its folder has, or a new one of what fits the budget."""

import time
from typing import Any

import jax
import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.errors import counted
from mecheval_jax.evaluation.cost.measure import machine
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.selection.deadline import Deadline
from mecheval_jax.selection.plan import (
    MEASURING_SHARE,
    Plan,
    Timing,
    Timings,
    fit,
    may_be_wider,
    sweep_of,
)
from mecheval_jax.selection.request import ChoiceRequest, words_of_time
from mecheval_jax.selection.sameness import check_same
from mecheval_jax.selection.timing import measure_steps, step_options
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.sweeps.plan import Sweep, open_folder, sweep_in


def shapes_of(sweep: Sweep) -> dict[str, ModelConfig]:
    """Models of a sweep by the names that they have among its costs."""
    models = [group.experiments[0].model for group in sweep.groups]
    return {name_of_shape(model.mixer, model.width): model for model in models}


def name_of_shape(mixer: str, width: int) -> str:
    """The name that a shape has among the costs of a choice."""
    return f"{mixer}, width {width}"


def planned(folder: ChoiceFolder, request: ChoiceRequest, clock: Deadline) -> Sweep:
    """The runs: those that the folder is planned for, or as many as fit the budget."""
    # A folder that has a plan goes on with it.
    if folder.sweep.exists():
        sweep = sweep_in(folder, {"base": request.experiment.as_dict(), "members": []})
        check_same(folder, sweep, request)
        folder.note_places(sweep.as_dict())
        say(f"{folder.path}: going on with {_runs(sweep)}")
        folder.write_plan({"asked": request.asked} | folder.read_plan() | _costs_asked(request))
        return sweep
    folder.check_own("choice", ())
    # Measure a training step of every shape, and plan what fits.
    timings, rows = _timed(request, clock)
    plan = fit(request, timings, clock.left, jax.device_count())
    sweep = sweep_of(request, plan.size, timings)
    _announce(sweep, plan, request)
    # Write the plan down, with what was measured for it.
    by_name = {
        name_of_shape(mixer, width): timing
        for width, of_width in timings.items()
        for mixer, timing in of_width.items()
    }
    open_folder(folder, sweep)
    folder.write_plan(
        _costs_asked(request)
        | {
            "budget_seconds": request.budget,
            "estimated_seconds": plan.seconds,
            "asked": request.asked,
            "given_up": list(plan.given_up),
            "step_seconds": {name: timing.step for name, timing in by_name.items()},
            "compile_seconds": {name: timing.compile for name, timing in by_name.items()},
            "documents": request.experiment.task.sizes(),
        },
    )
    folder.cost.path.mkdir(exist_ok=True)
    # Of the shapes that are planned, if they were measured at a length at which costs are asked.
    mine = (row for row in rows if row["model"] in shapes_of(sweep))
    if of_sweep := [row for row in mine if row["length"] == request.lengths[0]]:
        folder.cost.write_machine(machine())
        folder.cost.write_costs(pd.DataFrame(of_sweep))
    return sweep


def _timed(request: ChoiceRequest, clock: Deadline) -> tuple[Timings, list[dict[str, Any]]]:
    """How long a training step of each shape takes, and the rows of its costs.

    Widths are measured in the order in which they are kept, as long as one more of them may fit and
    there is time for measuring.
    """
    how, until = step_options(request), clock.until(MEASURING_SHARE)
    each, models = counted(len(request.mixers), "architecture"), request.shapes()
    timings: dict[int, dict[str, Timing]] = {}
    rows: list[dict[str, Any]] = []
    for width in request.widths:
        is_late = until is not None and time.monotonic() > until
        if timings and (
            is_late or not may_be_wider(request, timings, clock.left, jax.device_count())
        ):
            break
        say(f"a training step of each of {each} of width {width} is measured before the plan")
        shapes = {name_of_shape(mixer, width): models[width, mixer] for mixer in request.mixers}
        found, own = measure_steps(shapes, how, until)
        timings[width] = {mixer: timing for (mixer, _), timing in found.items()}
        rows += own
        if len(found) < len(shapes):
            break
    return timings, rows


def _costs_asked(request: ChoiceRequest) -> dict[str, Any]:
    """What a resumed choice may be asked otherwise, since no training depends on it."""
    return {
        "length": request.length,
        "lengths": list(request.lengths),
        "cheapest": request.cheapest,
    }


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
