"""How many pairs does each mixer recall with a state of the same size?

Question: at which number of pairs is half of the recall left, in six mixers whose layers keep
states of equal bytes?

    python -m launch.sweep --config=configs/capacity.py --workdir=DIR
    python -m launch.evaluate --workdir=DIR/groups/GROUP/members/RUN --analyses=capacity

for every RUN; docs/memory.md puts them into one table and figure. Documents are those of
multi-query recall with 1, 2, 4, ... up to `pairs` pairs, mixed in training, and as many tokens
again as pairs have for the questions. `state_bytes` is the size of a layer's state without its
short convolution. What twelve runs found stands in docs/results.md; they took about 70 minutes on
two cores beside other work. Mamba-2 is not among them, since it did not learn the task in twice as
many steps. With ``smoke=True`` it is a run of a few seconds that learns nothing.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short
from configs.grids import Changes, product, seeds
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.equal_states import equal_state

WIDTH, STATE_BYTES = 32, 4096
SCALED = ("delta_net", "gated_delta_net", "gated_delta_net_2", "kda")
"""Mixers with an option that scales their states."""

BY_HEADS = {"rwkv7": {"heads": 1}, "mlstm": {"heads": 4}}
"""Mixers whose states follow from the number of their heads, and the options with which they have
`STATE_BYTES` at `WIDTH`; mLSTM has 272 more for the sums of keys by which it divides."""


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, state_bytes, pairs, learning_rate, steps, seed, smoke."""
    defaults = {"mixer": "delta_net", "width": WIDTH, "learning_rate": 3e-3, "steps": 3000}
    arguments = parse(arg, COMMON | defaults | {"state_bytes": STATE_BYTES, "pairs": 128})
    pairs = arguments["pairs"]
    if pairs < 1:
        raise UserError(f"config argument pairs={pairs}: at least 1")
    sizes = (*(2**i for i in range(pairs.bit_length()) if 2**i < pairs), pairs)
    config = short()
    config.task = ConfigDict()
    config.task.name = "multi_query_recall"
    config.task.vocabulary = 2 * (2 * pairs + 8)  # number of ids of keys and values; even
    config.task.lengths = tuple(4 * n for n in sizes)  # tokens of a document in each setting
    config.task.pairs = sizes  # pairs of a document in each setting
    config.training.batch_size = 16  # every document takes the room of the longest
    config.task.num_passes = 1  # number of times that the pairs occur
    config.task.power = 0.01  # small: queries soon after the pairs; 1: anywhere after them
    config.task.noise = False  # whether positions without a query hold random tokens, not 0
    config.task.equal_documents = True  # whether documents of few pairs weigh as those of many
    config.evaluation.roles = ("key", "value", "next_key", "query")
    config = apply(config, arguments)
    config.model.mixer_options.update(
        options_of(arguments["mixer"], arguments["width"], arguments["state_bytes"])
    )
    return config


def options_of(mixer: str, width: int = WIDTH, state_bytes: int = STATE_BYTES) -> dict[str, Any]:
    """Options with which a layer keeps a state of this size."""
    if mixer not in BY_HEADS:
        return equal_state(mixer, width, state_bytes)
    if (width, state_bytes) != (WIDTH, STATE_BYTES):
        raise UserError(
            f"a state of {state_bytes:,} bytes: {mixer} of width {width} has none that is known; "
            f"the nearest is {STATE_BYTES:,} bytes of width {WIDTH}"
        )
    return BY_HEADS[mixer]


def sweep() -> Changes:
    """Six mixers with states of `STATE_BYTES` in every layer, with two seeds."""
    arms = [
        {"model.mixer": name, "model.mixer_options": options_of(name)}
        for name in (*SCALED, *BY_HEADS)
    ]
    return product(arms, seeds(2))
