"""Estimates of the time and room that members of the study take, stated and then measured.

Stated values are seconds per optimizer step of one member on one core of a CPU, with 32 documents
of AR and two layers of width 64. Members of another width, depth or task are estimated in rough
proportion; measured times of groups correct the estimate, those of the same mixer first.
"""

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence

from mecheval_jax.experiment import Experiment
from mecheval_jax.store.sweep_folder import GroupStatus
from mecheval_jax.sweeps.plan import GroupPlan

STEP = {
    "attention": 8.4e-3,
    "based": 7.2e-3,
    "base_conv": 7.2e-3,
    "hyena": 12e-3,
    "h3": 21.6e-3,
    "mamba": 25.2e-3,
    "delta_net": 30e-3,
}
"""Seconds of a step by mixer; measured on two cores of a virtual machine."""

SLOWEST = max(STEP.values())
"""Seconds of a step of mixers that are not listed."""

ACCELERATOR = 1 / 60
"""Assumed time of an accelerator for a member, as a share of a core's, until it is measured.

A step of a model this small is some hundred and fifty operations, each launched in a few
microseconds: about half a millisecond, a twentieth of a core's. The members of a group, mostly
three, are computed side by side in it.
"""


def stated(experiment: Experiment) -> float:
    """Stated seconds of a step of one member on one core."""
    model, training = experiment.model, experiment.training
    width = 0.2 + 0.8 * model.width / 64
    depth = 0.4 + 0.6 * model.layers / 2
    documents = training.batch_size / 32
    if experiment.task_name == "treecall":  # of long runs, which take batches in parts
        documents *= 3.0 if experiment.task.symbols > 5 else 1.0
    return STEP.get(model.mixer, SLOWEST) * width * depth * documents


def group_seconds(group: GroupPlan, clock: "Clock") -> float:
    """Estimated seconds of the training of a group."""
    return clock.step_seconds(group.experiments[0], len(group.members)) * group.steps


def seconds_of_all(groups: Sequence[GroupPlan], clock: "Clock") -> float:
    """Estimated seconds until all groups are trained, as many at a time as the clock says."""
    each = [group_seconds(group, clock) for group in groups]
    return max(sum(each) / clock.at_once, max(each, default=0.0))


HOUR = 3600
"""Seconds of an hour."""


def is_beyond(budget: float | None, spent: float, seconds: float) -> bool:
    """Whether a group is not begun any more.

    Args:
        budget: Hours of a study; None for no limit.
        spent: Seconds that are spent.
        seconds: Estimated seconds of the group.
    """
    return budget is not None and spent + seconds > budget * HOUR


CHECKPOINT_SECONDS = 240
"""Rough seconds of work that the loss of a machine may cost."""


def checkpoint_every(experiments: Sequence[Experiment], clock: "Clock") -> int:
    """Number of steps between the checkpoints of a group, for one every few minutes.

    It is a multiple of the steps between evaluations, and at most that of the config.

    Args:
        experiments: Members of the group.
        clock: Estimates for the machine.
    """
    training = experiments[0].training
    steps = CHECKPOINT_SECONDS / clock.step_seconds(experiments[0], len(experiments))
    evaluations = int(steps) // training.evaluate_every
    return min(training.checkpoint_every, max(1, evaluations) * training.evaluate_every)


def checkpoint_bytes(experiment: Experiment) -> int:
    """Rough number of bytes of a member in a checkpoint: parameters and two moments of each."""
    model = experiment.model
    embeddings = model.vocabulary_size + (model.max_length if model.positions == "learned" else 0)
    layer = 12 * model.width**2  # four of the mixer, eight of the feed-forward part
    return 3 * 4 * (embeddings * model.width + model.layers * layer)


def _stated_step(experiment: Experiment, members: int, devices: int) -> float:
    """Stated seconds of a step of a group, which ends when the device with most members has it."""
    return stated(experiment) * math.ceil(members / devices)


@dataclasses.dataclass
class Clock:
    """Estimates of times, corrected by measured ones.

    Attributes:
        devices: Number of devices over which the members of a group are spread.
        accelerator: Whether the devices are not cores of a CPU.
        at_once: Number of groups that are computed at the same time, each on devices of its own.
    """

    devices: int = 1
    accelerator: bool = False
    at_once: int = 1

    def __post_init__(self):
        self._ratios: dict[str, list[float]] = defaultdict(list)

    def with_groups_at_once(self, at_once: int) -> "Clock":
        """The same estimates where the devices are divided among so many groups at a time."""
        devices = max(1, self.devices * self.at_once // at_once)
        divided = Clock(devices, self.accelerator, at_once)
        divided._ratios = self._ratios
        return divided

    def observe(self, experiment: Experiment, status: GroupStatus) -> None:
        """Note the time that a group of such members was trained for."""
        if status.members and status.steps and status.seconds > 0:
            devices = status.devices or self.devices  # older ones do not say
            expected = _stated_step(experiment, status.members, devices) * status.steps
            self._ratios[experiment.model.mixer].append(status.seconds / expected)

    def step_seconds(self, experiment: Experiment, members: int) -> float:
        """Estimated seconds of a step of a group of such members."""
        return _stated_step(experiment, members, self.devices) * self._ratio(experiment)

    def _ratio(self, experiment: Experiment) -> float:
        of_mixer = self._ratios.get(experiment.model.mixer)
        if of_mixer:
            return statistics.median(of_mixer)
        every = [ratio for ratios in self._ratios.values() for ratio in ratios]
        if every:
            return statistics.median(every)
        return ACCELERATOR if self.accelerator else 1.0
