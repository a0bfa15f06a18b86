r"""The experiment "AR 32" of arXiv 2505.15105: two layers, 16 pairs of 4,096 keys and values.

Question: which architectures recall, and by which mechanism?

    python -m launch.train --workdir=DIR \
        --config=configs/study/ar_two_layers.py:mixer=attention,width=64,learning_rate=1e-3

A fixed set of 100,032 documents (3,126 batches of 32) is replayed 16 times, 50,016 steps;
``fresh=True`` draws new documents at every step instead. Only attention has learned
positions, and not even attention at rates of 1e-2 and more. Expected at width 64 (the study, best
learning rate): attention 100 %, based 99.06 %, mamba 80.62 %. By the step times of
``docs/benchmarks.md`` on two CPU cores: 3 minutes for attention, 2 for based, 9 for mamba; more
than twice that on slower ones.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import base
from configs.grids import Changes
from mecheval_jax.mixers.architectures import positions_of

EPOCH = 3126  # number of batches of the fixed training set
MIXERS = ("attention", "based", "mamba", "delta_net", "hyena", "base_conv", "h3")
WITHOUT_POSITIONS = 1e-2  # learning rate from which on attention has no positions either


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, learning_rate, steps, seed, fresh, smoke."""
    arguments = parse(arg, COMMON | {"steps": 16 * EPOCH, "fresh": False})
    config = base()
    if not arguments["fresh"]:
        config.training.training_batches = EPOCH
    apply(config, arguments)
    config.model.positions = positions(arguments["mixer"], arguments["learning_rate"])
    return config


def positions(mixer: str, learning_rate: float) -> str:
    """Kind of positions: none at the two highest rates, attention included, as in the study."""
    return positions_of(mixer) if learning_rate < WITHOUT_POSITIONS else "none"


def runs(scale: str) -> Changes:
    """Every mixer at the widths, learning rates and seeds of a scale."""
    from configs.study.cells import cells  # which takes the positions from here

    return cells("ar_two_layers", scale, MIXERS)


def sweep() -> Changes:
    """The study's grid with three seeds."""
    return runs("full")
