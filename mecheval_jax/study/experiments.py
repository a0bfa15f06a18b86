"""The study's experiments: the findings that they decide, and their sizes at each scale.

Each is a config in ``configs/study/NAME.py``, where ``runs(scale)`` lists its members from the
grids here. There are three scales: ``full`` is the study's grid with three seeds; ``device`` has
all widths with few learning rates and seeds, for one accelerator; ``laptop`` is for two CPU cores
and has fewer widths, too. Documents and training lengths are the study's own at every scale, so
that numbers of all scales can be compared.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from mecheval_jax.errors import choose
from mecheval_jax.study.published.tables import WIDTHS

SCALES = ("laptop", "device", "full")

RATES = {
    # Family of experiments -> the study's learning rates.
    "AR": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "ATR": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
}

BEST = {
    # Mixer -> greatest width -> its two best learning rates on AR up to that width, the best first.
    # Published rates; those of mixers for which the study shows none come from trials. The second
    # rate of Based is that of width 64 and more: at 16 and 32 the study has more at 1e-2.
    "attention": {32: (1e-3, 3e-4), 64: (3e-4, 1e-3), 128: (1e-4, 3e-4), 256: (1e-4, 3e-5)},
    "based": {256: (3e-3, 1e-3)},
    "mamba": {64: (1e-2, 3e-3), 128: (3e-3, 1e-2), 256: (1e-3, 3e-3)},
    "hyena": {64: (3e-3, 1e-2), 128: (1e-2, 3e-3), 256: (3e-3, 1e-3)},
    "base_conv": {256: (3e-3, 1e-2)},
    "h3": {256: (3e-3, 1e-2)},
    "delta_net": {256: (1e-3, 3e-3)},
}

ALL = 99
"""Number of learning rates that stands for all existing ones."""


@dataclasses.dataclass(frozen=True)
class GridSize:
    """The size of an experiment at one scale.

    Attributes:
        widths: Widths of the models, in the order in which they are trained.
        rates: Number of learning rates of each cell, the best known first.
        seeds: Number of seeds of the best rate.
        other_seeds: Number of seeds of each other rate.
    """

    widths: tuple[int, ...] = (64,)
    rates: int = 1
    seeds: int = 2
    other_seeds: int = 1


FULL = GridSize(WIDTHS, ALL, 3, 3)
DEVICE = GridSize((64, 32, 128, 16, 256), 2, 2, 1)
LAPTOP = GridSize((64,), 2, 2, 1)
ONE_RATE = GridSize((64,), 1, 2)
"""Enough where no finding is judged: what is low at one rate may be higher at another."""


@dataclasses.dataclass(frozen=True)
class StudyExperiment:
    """An experiment of the study.

    Attributes:
        name: Name of its config in ``configs/study``.
        family: Family that determines its learning rates, a name in `RATES`.
        findings: Numbers of the findings that need it.
        laptop: Size at the scale of this name; likewise the next two.
        device: Size.
        full: Size.
        both_splits: Whether interventions are measured on dev documents as well.
    """

    name: str
    family: str
    findings: tuple[int, ...]
    laptop: GridSize = LAPTOP
    device: GridSize = DEVICE
    full: GridSize = FULL
    both_splits: bool = False

    def grid(self, scale: str) -> GridSize:
        """The grid of a scale.

        Raises:
            UserError: If the scale does not exist.
        """
        return getattr(self, choose("scale", scale, SCALES))


WIDER = GridSize((64, 32), 2, 2)
SEEDS = GridSize((64, 32), 1, 5)

EXPERIMENTS = (
    StudyExperiment(
        "ar_two_layers", "AR", (*range(1, 15), 27, 28, 30),
        laptop=GridSize((64, 32), 2, 3), device=GridSize((64, 32, 128, 16, 256), 3, 3, 1),
    ),
    StudyExperiment(
        "atr_two_layers", "ATR", (15, 17, 18, 19, 20, 21, 30), laptop=WIDER
    ),
    StudyExperiment("atr_languages", "ATR", (16, 17, 18, 19, 21, 30)),
    StudyExperiment("mamba_taps", "AR", (11, 12, 28, 29)),
    StudyExperiment("ar_layers", "AR", (8, 9, 10, 27)),
    StudyExperiment("atr_held_out", "ATR", (22, 23, 24), both_splits=True),
    StudyExperiment("based_kernels", "AR", (13,)),
    StudyExperiment("atr_one_layer", "ATR", (20,)),
    StudyExperiment("atr_without_convolution", "ATR", (29,)),
    StudyExperiment("ar_positions", "AR", (14,)),
    StudyExperiment("atr_positions", "ATR", (21,)),
    StudyExperiment("ar_reverse", "AR", (26,)),
    StudyExperiment("atr_siblings", "ATR", (25,)),
    # What readers asked for, beyond the study's own findings.
    StudyExperiment("ar_filler", "AR", (), ONE_RATE, ONE_RATE, SEEDS),
    StudyExperiment("ar_seeds", "AR", (), ONE_RATE, SEEDS, SEEDS),
    StudyExperiment("ar_rates", "AR", (), ONE_RATE, SEEDS, SEEDS),
    StudyExperiment("ar_beta2", "AR", (), ONE_RATE, SEEDS, SEEDS),
)  # fmt: skip
"""Experiments in the order of their runs: first those that decide the most findings."""


def experiment_named(name: str) -> StudyExperiment:
    """The experiment with a name.

    Raises:
        UserError: If there is none.
    """
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    return known[choose("experiment", name, known)]


def ranked_rates(family: str, mixer: str, width: int, count: int) -> tuple[float, ...]:
    """Learning rates of a cell: the two best known, then the ones nearest to the best.

    For treecall the study names no best rates: there 1e-3 comes first, then 3e-3.
    """
    best: Sequence[float] = (1e-3, 3e-3)
    if family == "AR":
        best = _up_to(BEST[mixer], width)
    others = [rate for rate in RATES[family] if rate not in best]
    others.sort(key=lambda rate: abs(math.log(rate / best[0])))
    return (*best, *others)[:count]


def _up_to(rates: Mapping[int, Sequence[float]], width: int) -> Sequence[float]:
    return rates[min(limit for limit in rates if width <= limit)]
