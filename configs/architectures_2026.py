"""Recall with the architectures of 2026, each as small as possible.

Question: does every one of them learn associative recall (4 pairs of 32 keys and values), and where
does it bind them?

    python -m launch.sweep --config=configs/architectures_2026.py --workdir=DIR

Two layers of width 32 with one head, 400 batches of 64 documents replayed for at most 4,000 steps,
rates of 3e-3 and 1e-2, two seeds; a run ends early at 99 % of 320 dev documents. With
``smoke=True`` it is a run of a few seconds that learns nothing.

What was found: docs/experiments.md. The replayed set matters: with 32 fresh documents a step
Mamba-3 had 56 % after 6,000 steps, gated attention 28 % after 6,000 and HGRN2 3 % after 2,000.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short_recall
from configs.grids import Changes, axis, chain, mixers, product, seeds

DELTA_FAMILY = ("kda", "gated_delta_net_2", "gated_delta_product", "comba")
"""Architectures beside RWKV-7, whose layers have their own channel mixing."""

FORGETTING = ("forgetting_attention", "forgetting_attention_pro")
ATTENTION = (*FORGETTING, "gated_attention", "path_attention")
STATES = ("mlstm", "mesa_net", "gated_slot_attention", "hgrn2")
STATE_SPACES = ("mamba3", "log_linear_mamba2")
"""With a state of 16 numbers a channel."""

UNAIDED = ("forgetting_attention", "gated_slot_attention", "hgrn2")
"""Without an operation of their own on neighbouring tokens, like Mamba-3 but for its trapezoid."""


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, learning_rate, steps, seed, smoke."""
    defaults = {"mixer": "kda", "width": 32, "learning_rate": 3e-3, "steps": 4000}
    arguments = parse(arg, COMMON | defaults)
    config = short_recall(pairs=4, keys=32)
    config.model.max_length = 32
    config.training.target_accuracy = 0.99  # on dev documents, where training ends
    config.training.training_batches = 400  # drawn once and replayed: attention learns by it
    if arguments["mixer"] == "rwkv7":
        config.model.feed_forward = "channel_mix"
    return apply(config, arguments)


def sweep() -> Changes:
    """Every architecture at two learning rates, with two seeds.

    Those that mix no neighbouring tokens, or hardly, once more with a convolution before each
    mixer: does it lack that alone? `configs/gated_attention.py` asks it of gated attention.
    """
    rwkv7 = product(mixers(("rwkv7",)), axis("model.feed_forward", ("channel_mix",)))
    rates = axis("training.learning_rate", (3e-3, 1e-2))
    small = axis("model.mixer_options", ({"d_state": 16},))
    states = product(mixers(STATE_SPACES), small)
    others = mixers((*DELTA_FAMILY, *ATTENTION, *STATES))
    own_state = product(mixers(("mamba3",)), small)
    aided = product(chain(mixers(UNAIDED), own_state), axis("model.canon", (4,)))
    return product(chain(others, rwkv7, states, aided), rates, seeds(2))
