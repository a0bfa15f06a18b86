"""Can one association be edited in the state of every linear mixer, and what do the others feel?

    python -m launch.sweep --config=configs/linear_memories.py --workdir=DIR
    python -m launch.evaluate --workdir=DIR/groups/GROUP/members/RUN --analyses=editing

for every RUN. Documents have 4 pairs of 16 keys and values. Mixers without an operation over
neighbouring tokens have a convolution of four taps before them (`model.canon`), since they do not
learn the task in this time without. The default is one of the mixers: a run of a minute. With
``smoke=True`` it is a run of a few seconds that learns nothing.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short_recall
from configs.grids import Changes, axis, chain, mixers, product, zipped

LOCAL = (
    "based",
    "mamba",
    "mamba2",
    "mamba3",
    "log_linear_mamba2",
    "mlstm",
    "delta_net",
    "gated_delta_net",
    "gated_delta_net_2",
    "gated_delta_product",
    "kda",
    "comba",
    "rwkv7",
    "mesa_net",
)
"""Linear mixers that see neighbouring tokens."""

WITHOUT = ("taylor_attention", "retnet", "gla", "hgrn2", "gated_slot_attention")
"""Those that do not."""

TAPS = 4
"""Number of tokens that the convolution before them sees."""

SLOW = ("mamba", "hgrn2", "gated_slot_attention")
"""Mixers that learn the task in this time at `FAST` alone."""

USUAL, FAST = 3e-3, 1e-2
"""Learning rates."""

WIDE, WIDTH = ("based", "mamba", "gla"), 32
"""Mixers that learn the task in this time at twice the width alone, and the width of the others."""


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: pairs, keys, and those of all configs.

    Width and learning rate 0 are the mixer's own.
    """
    defaults = {"mixer": "gated_delta_net", "width": 0, "learning_rate": 0.0, "steps": 4000}
    arguments = parse(arg, COMMON | defaults | {"pairs": 4, "keys": 16})
    mixer = arguments["mixer"]
    arguments["learning_rate"] = arguments["learning_rate"] or rate_of(mixer)
    arguments["width"] = arguments["width"] or width_of(mixer)
    config = short_recall(arguments["pairs"], arguments["keys"])
    config.model.max_length = 64
    config.model.canon = TAPS if mixer in WITHOUT else 0
    config.training.target_accuracy = 0.995  # on dev documents, where training ends
    return apply(config, arguments)


def sweep() -> Changes:
    """Every linear mixer, with one seed."""
    alone = product(mixers(LOCAL), axis("model.canon", (0,)))
    aided = product(mixers(WITHOUT), axis("model.canon", (TAPS,)))
    arms = chain(alone, aided)
    names = [arm["model.mixer"] for arm in arms]
    rates = axis("training.learning_rate", [rate_of(name) for name in names])
    return zipped(arms, rates, axis("model.width", [width_of(name) for name in names]))


def width_of(mixer: str) -> int:
    """The width at which a mixer learns the task in this time."""
    return 2 * WIDTH if mixer in WIDE else WIDTH


def rate_of(mixer: str) -> float:
    """The learning rate at which a mixer learns the task in this time."""
    return FAST if mixer in SLOW else USUAL
