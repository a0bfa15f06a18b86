"""The part of "AR 32" (arXiv 2505.15105) that two CPU cores can train in a day.

Question: do the study's findings on recall and on short convolutions hold, seed by seed?

    python -m launch.sweep --config=configs/study/ar_laptop.py --workdir=DIR --interventions=none

Task, training set and training length are the study's own (`ar_two_layers`), so that accuracies
can be compared with the published ones; there are fewer widths and learning rates, and more seeds.
Each architecture has its best learning rate with seeds 0 to 2 and another good one with seed 0,
first at width 64 and last at width 32; they are the study's where it shows rates, and from trials
where it does not. Between these come other sizes of the short convolutions of Mamba
and Based, at width 64 and the best rate, with two seeds. All checkpoints are kept, so that
interventions can be measured afterwards. It takes about 14 hours on two cores. For the expected
results see `ar_two_layers`.
"""

from collections.abc import Iterable, Mapping

from ml_collections import ConfigDict

from configs.grids import Changes, axis, chain, mixers, product, seeds
from configs.study import ar_two_layers

RATES = {
    # architecture: best and another good learning rate at width 64, published or from trials
    "attention": (3e-4, 1e-3),
    "based": (3e-3, 1e-3),
    "mamba": (1e-2, 3e-3),
    "delta_net": (1e-3, 3e-3),
    "hyena": (3e-3, 1e-2),
    "base_conv": (3e-3, 1e-2),
    "h3": (3e-3, 1e-2),
}
RATES_AT_32 = RATES | {"attention": (1e-3, 3e-4)}
MAMBA_TAPS = (2, 1, 3, 0)  # the default, 4, is among the architectures
BASED_KERNELS = (1, 2, 4, "implicit")  # the default, 3, likewise


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    config = ar_two_layers.get_config(arg)
    config.training.keep_checkpoints = 0  # 0: all
    return config


def sweep() -> Changes:
    """Seven architectures at width 64, the sizes of short convolutions, seven at width 32."""
    return chain(
        _architectures(64, RATES),
        _sizes("mamba", "d_conv", MAMBA_TAPS),
        _sizes("based", "kernel", BASED_KERNELS),
        _architectures(32, RATES_AT_32),
    )


def _architectures(width: int, rates: Mapping[str, tuple[float, float]]) -> Changes:
    """Each architecture with three seeds at its best rate, and one at the next best."""
    members = []
    for name, (best, next_best) in rates.items():
        runs = chain(_rate(best, 3), _rate(next_best, 1))
        members += product(mixers([name]), axis("model.width", [width]), runs)
    return members


def _sizes(mixer: str, option: str, values: Iterable[int | str]) -> Changes:
    """Two seeds at the best rate for each size of a short convolution."""
    options = axis("model.mixer_options", [{option: value} for value in values])
    width = axis("model.width", [64])
    return product(mixers([mixer]), width, options, _rate(RATES[mixer][0], 2))


def _rate(learning_rate: float, count: int) -> Changes:
    """One learning rate with seeds 0 to count - 1."""
    return product(axis("training.learning_rate", [learning_rate]), seeds(count))
