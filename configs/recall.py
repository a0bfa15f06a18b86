r"""Associative recall with any mixer, a starting point for experiments of one's own.

Question: can this architecture recall, and how?

    python -m launch.train --config=configs/recall.py:mixer=based,pairs=4,keys=32,steps=2500 \
        --config.training.learning_rate=3e-3 --config.training.training_batches=400 --workdir=DIR

learns within a minute or two. The default is harder: 8 pairs of 128 keys and 128 values, with fresh
documents at every step, of which Based and attention answer no more than a guess after its 3,000
steps. Every field can be changed on the command line, ``--config.training.steps=20000``. With
``smoke=True`` it is a run of a few seconds that learns nothing.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short_recall
from configs.grids import Changes, axis, mixers, product, seeds


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, pairs, keys, learning_rate, steps, seed, smoke."""
    arguments = parse(arg, COMMON | {"pairs": 8, "keys": 128})
    config = short_recall(arguments["pairs"], arguments["keys"])
    return apply(config, arguments)


def sweep() -> Changes:
    """Two architectures at three learning rates and two seeds."""
    return product(
        mixers(("based", "mamba")),
        axis("training.learning_rate", (3e-4, 1e-3, 3e-3)),
        seeds(2),
    )
