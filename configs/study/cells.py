"""Members of the study's experiments, from the grids of `mecheval_jax.study.experiments`."""

from typing import Any

from configs.grids import Changes
from configs.study.ar_two_layers import positions
from mecheval_jax.study.experiments import experiment_named, ranked_rates

MIXERS = ("attention", "based", "mamba", "hyena", "base_conv", "h3")
"""The architectures of the study's second version."""

COMPARED = ("mamba", "attention", "based", "hyena")
"""The architectures that additional experiments compare."""


def cells(name: str, scale: str, mixers: tuple[str, ...], extra: Changes | None = None) -> Changes:
    """Every mixer at the widths, learning rates and seeds that an experiment has at a scale.

    Args:
        name: Name of the experiment.
        scale: Name of the scale.
        mixers: Names of the mixers.
        extra: Further changes; every member is repeated with each of them. None for no changes.
    """
    experiment = experiment_named(name)
    grid = experiment.grid(scale)
    members = []
    for width in grid.widths:
        for mixer in mixers:
            for changes in extra or [{}]:
                rates = ranked_rates(experiment.family, mixer, width, grid.rates)
                for rate in rates:
                    seeds = grid.seeds if rate == rates[0] else grid.other_seeds
                    members += [run(mixer, width, rate, seed) | changes for seed in range(seeds)]
    return members


def run(mixer: str, width: int, rate: float, seed: int) -> dict[str, Any]:
    """Changes of one member, with the positions that the study has at its learning rate."""
    return {
        "model.mixer": mixer,
        "model.positions": positions(mixer, rate),
        "model.width": width,
        "training.learning_rate": rate,
        "training.seed": seed,
        "training.data_seed": seed,
    }


def other_positions(members: Changes) -> Changes:
    """The same members, with learned positions instead of none and none instead of learned."""
    other = {"learned": "none", "none": "learned"}
    return [each | {"model.positions": other[each["model.positions"]]} for each in members]
