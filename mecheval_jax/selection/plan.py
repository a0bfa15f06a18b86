"""Which runs a choice consists of: as many widths, learning rates and seeds as fit its time.

Every architecture is trained, at least once; `LADDER` says what is given up first. Steps are not:
a model that had too few of them would be compared with one that had enough. The quickest
architecture is trained first, so that most are finished if the time ends too early.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from mecheval_jax.errors import UserError, counted
from mecheval_jax.selection.documents import without_the_longest
from mecheval_jax.selection.request import ChoiceRequest, words_of_time
from mecheval_jax.sweeps.plan import Changes, Sweep, plan

LADDER = (
    (2, 3, 3), (2, 2, 3), (1, 3, 3), (1, 2, 3), (1, 2, 2), (1, 1, 3), (1, 1, 2), (1, 1, 1),
)  # fmt: skip
"""Numbers of widths, learning rates and seeds, from the most to the least."""

MEASURING_SHARE = 0.5
"""Share of the time after which no further architecture is measured before the plan: with what is
left little could be trained."""

TRAINING_SHARE = 0.75
"""Share of the time for training and verdicts; costs, circuits and the page have the rest."""

MEASURED_STEPS = 150
"""Training steps that take as long as the answers and interventions of a run, about."""

PROGRAMS = 10
"""Programs of a group that take as long to compile as its training step, about."""

SLACK = 1.2
"""By how much a step of a run takes longer than its measured arithmetic, about."""

SHARED = 1.3
"""By how much longer it takes again while another run is on another device, about: the devices of
one machine share its memory and, on a CPU, the cores that were all free at the measurement."""


MARGIN = 1.1
"""By how much a budget that is said to be enough is more: a step is never measured twice alike."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long an architecture takes on this machine.

    Attributes:
        step: Seconds of a training step of one run on one device, the median of a few.
        compile: Seconds in which that step was compiled.
    """

    step: float
    compile: float


Timings = Mapping[int, Mapping[str, Timing]]
"""How long each architecture takes, by width and then by its name."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of a request is planned.

    Attributes:
        widths: Widths.
        rates: Learning rates.
        seeds: Number of seeds.
    """

    widths: tuple[int, ...]
    rates: tuple[float, ...]
    seeds: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        size: Widths, learning rates and seeds.
        seconds: Time that training and verdicts are estimated to take; None without timings.
        given_up: What was asked for and has no time, in words.
    """

    size: Size
    seconds: float | None
    given_up: tuple[str, ...]


def sizes_of(request: ChoiceRequest) -> list[Size]:
    """What may be planned of a request, from all of it to the least.

    Seeds above those of `LADDER` go first, one by one.
    """
    full = (len(request.widths), len(request.rates), request.seeds)
    fewer = ((*full[:2], seeds) for seeds in range(request.seeds - 1, LADDER[0][2], -1))
    rungs = [full, *fewer, *(tuple(map(min, rung, full)) for rung in LADDER)]
    return [
        Size(request.widths[:widths], request.rates[:rates], seeds)
        for widths, rates, seeds in dict.fromkeys(rungs)
    ]


def seconds_of(size: Size, steps: int, timings: Timings, devices: int = 1) -> float:
    """How long the training and the verdicts of all architectures take, about.

    Args:
        size: Widths, learning rates and seeds.
        steps: Steps of a run.
        timings: How long each architecture takes at these widths.
        devices: Number of devices over which the runs of a shape are spread.
    """
    runs = len(size.rates) * size.seeds
    slack = SLACK * (SHARED if min(runs, devices) > 1 else 1.0)
    taken = math.ceil(runs / devices) * (steps + MEASURED_STEPS)
    each = (one for width in size.widths for one in timings[width].values())
    return sum(PROGRAMS * one.compile + taken * one.step * slack for one in each)


def may_be_wider(
    request: ChoiceRequest, timings: Timings, left: float | None, devices: int = 1
) -> bool:
    """Whether one width more than were measured could fit: what it comes beside does.

    It has to be measured as well, which is taken to last as long as it did for each width so far:
    a budget that is just enough without the further width is not spent on looking at it.

    Args:
        request: What is asked for.
        timings: How long all architectures take, at the first widths.
        left: Seconds that are left of the budget; None for no end.
        devices: Number of devices.
    """
    if left is not None:
        left -= ((request.budget or left) - left) / len(timings)
    known, steps = tuple(timings), request.experiment.training.steps
    wider = [size for size in sizes_of(request) if len(size.widths) > len(known)]
    beside = [dataclasses.replace(size, widths=known) for size in wider]
    return any(_fits(request, seconds_of(size, steps, timings, devices), left) for size in beside)


def _fits(request: ChoiceRequest, seconds: float, left: float | None) -> bool:
    """Whether the time for training, a share of the whole budget with measuring, is enough."""
    return left is None or seconds <= left - (1 - TRAINING_SHARE) * (request.budget or left)


def fit(request: ChoiceRequest, timings: Timings, left: float | None, devices: int = 1) -> Plan:
    """The most that fits into the time.

    Args:
        request: What is asked for.
        timings: How long each architecture takes, of those that were measured in time; widths of
            which not all were are given up.
        left: Seconds that are left of the budget; None for no end.
        devices: Number of devices.

    Raises:
        UserError: If one run of each architecture does not fit, or some were not even measured; it
            says what would fit.
    """
    first = timings.get(request.widths[0], {})
    if not_reached := [mixer for mixer in request.mixers if mixer not in first]:
        raise UserError(_not_measured(request, not_reached, timings, left or 0.0, devices))
    steps = request.experiment.training.steps
    sizes = sizes_of(request)
    for size in sizes:
        if any(timings.get(width, {}).keys() != first.keys() for width in size.widths):
            continue
        seconds = seconds_of(size, steps, timings, devices)
        if _fits(request, seconds, left):
            return Plan(size, seconds, _given_up(sizes[0], size))
    raise UserError(_too_small(request, sizes[-1], timings, left or 0.0, devices))


def _given_up(full: Size, size: Size) -> tuple[str, ...]:
    lost = []
    if widths := full.widths[len(size.widths) :]:
        lost.append(f"width {', '.join(map(str, widths))}")
    if rates := full.rates[len(size.rates) :]:
        lost.append(f"learning rate {', '.join(f'{rate:g}' for rate in rates)}")
    if size.seeds < full.seeds:
        lost.append(f"{full.seeds - size.seeds} of {full.seeds} seeds")
    return tuple(lost)


def _too_small(
    request: ChoiceRequest, least: Size, timings: Timings, left: float, devices: int
) -> str:
    """What to say of a budget in which not every architecture can be trained once."""
    steps = request.experiment.training.steps
    spent = (request.budget or left) - left
    each = counted(len(request.mixers), "architecture")
    enough = _enough(spent + seconds_of(least, steps, timings, devices))
    return (
        f"--budget={words_of_time(request.budget or left)} is too small for one model of each of "
        f"{each} of width {least.widths[0]} in {steps:,} steps: --budget={enough} is enough, by "
        f"times of this machine as busy as it was; {_fitting(request, timings, devices)}"
    )


def _not_measured(
    request: ChoiceRequest, not_reached: Sequence[str], timings: Timings, left: float, devices: int
) -> str:
    """What to say of a budget of which too much goes before all architectures are measured."""
    width, least = request.widths[0], sizes_of(request)[-1]
    known = timings[width]
    # Those that were not reached are taken to be as dear as the dearest, in measuring as well.
    dearest = Timing(
        max(one.step for one in known.values()), max(one.compile for one in known.values())
    )
    of_all = {width: {**known, **dict.fromkeys(not_reached, dearest)}}
    measuring = ((request.budget or left) - left) * len(of_all[width]) / len(known)
    training = seconds_of(least, request.experiment.training.steps, of_all, devices)
    enough = _enough(measuring + training, measuring)
    return (
        f"--budget={words_of_time(request.budget or 0)} is too small: half of it went into "
        f"measuring a training step of width {width} of {'; '.join(known)}, and not of "
        f"{'; '.join(not_reached)}: --budget={enough} is enough if these take no longer, by times "
        f"of this machine as busy as it was; {_fitting(request, timings, devices)}"
    )


def _enough(seconds: float, measuring: float = 0.0) -> str:
    """A budget for measuring and training, in whole minutes.

    Args:
        seconds: Seconds that measuring, training and verdicts take, about.
        measuring: Those of them that measuring takes, if not all was measured in time.
    """
    needed = MARGIN * max(seconds / TRAINING_SHARE, measuring / MEASURING_SHARE)
    return words_of_time(60 * math.ceil(needed / 60))


def _fitting(request: ChoiceRequest, timings: Timings, devices: int) -> str:
    """Which of the measured architectures would fit, if the same budget were theirs alone."""
    least, steps = sizes_of(request)[-1], request.experiment.training.steps
    (width,) = least.widths
    needed = {
        name: (one.compile + seconds_of(least, steps, {width: {name: one}}, devices))
        / TRAINING_SHARE
        for name, one in timings[width].items()
    }
    total, fitting = 0.0, []
    for name in sorted(needed, key=needed.__getitem__):
        total += needed[name]
        if total <= (request.budget or 0):
            fitting.append(f"--mixer={name}")
    shorter = without_the_longest(request.experiment.task)
    if fitting:
        return f"what would fit: {' '.join(fitting)}{shorter}"
    return (
        "not one of them would fit: fewer steps (--steps) or a smaller width (--widths) take less"
        + shorter
    )


def sweep_of(request: ChoiceRequest, size: Size, timings: Timings) -> Sweep:
    """The runs, in groups of one shape: all of the first width first, of these the quickest."""
    shapes = [
        (width, mixer)
        for width in size.widths
        for mixer in sorted(request.mixers, key=lambda name: timings[width][name].step)
    ]
    return plan(request.experiment.as_dict(), changes_of(request, size, shapes))


def changes_of(
    request: ChoiceRequest, size: Size, shapes: Sequence[tuple[int, str]]
) -> Sequence[Changes]:
    """What each run changes in the request's experiment, by widths and architectures in order."""
    first = request.experiment.training.seed
    return [
        {
            **{
                f"model.{name}": value
                for name, value in request.experiment.model.changes_to(mixer).items()
            },
            "model.width": width,
            "training.learning_rate": rate,
            "training.seed": first + seed,
            "training.data_seed": request.experiment.training.data_seed + seed,
        }
        for width, mixer in shapes
        for rate in size.rates
        for seed in range(size.seeds)
    ]
