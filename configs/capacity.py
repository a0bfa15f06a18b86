"""How many pairs does each mixer recall with a state of the same size?

Question: at which number of pairs is half of the recall left, in six mixers whose layers keep
states of equal bytes?

    python -m launch.sweep --config=configs/capacity.py --workdir=DIR
    python -m launch.evaluate --workdir=DIR/groups/GROUP/members/RUN --analyses=capacity

for every RUN; docs/memory.md puts them into one table and figure. Documents are those of
multi-query recall with 1, 2, 4, ... up to `pairs` pairs, mixed in training, and as many tokens
again as pairs have for the questions. `state_bytes` is the size of a layer's state without its
short convolution. What twelve runs found stands in docs/experiments.md; they took about 70
minutes on two cores beside other work. Mamba-2 is not among them, since it did not learn the task
in twice as many steps. With ``smoke=True`` it is a run of a few seconds that learns nothing.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, at_least_one, parse
from configs.base import short
from configs.grids import Changes, product, seeds
from mecheval_jax.evaluation.memory.equal_states import equal_state

WIDTH, STATE_BYTES = 32, 4096
MIXERS = ("delta_net", "gated_delta_net", "gated_delta_net_2", "kda", "rwkv7", "mlstm")
"""Architectures of the sweep."""

BYTES = {"mlstm": STATE_BYTES + 272}
"""Sizes of states that are not `STATE_BYTES`: mLSTM has in addition the sums of keys by which it
divides."""


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: state_bytes (0: those of the sweep), pairs, and those of all configs."""
    defaults = {"mixer": "delta_net", "width": WIDTH, "learning_rate": 3e-3, "steps": 3000}
    arguments = parse(arg, COMMON | defaults | {"state_bytes": 0, "pairs": 128})
    pairs = arguments["pairs"]
    at_least_one(arguments, "pairs")
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


def options_of(mixer: str, width: int = WIDTH, state_bytes: int = 0) -> dict[str, Any]:
    """Options with which a layer keeps a state of this size; 0 is the sweep's."""
    return equal_state(mixer, width, state_bytes or BYTES.get(mixer, STATE_BYTES))


def sweep() -> Changes:
    """Six mixers with states of `STATE_BYTES` in every layer, with two seeds."""
    arms = [{"model.mixer": name, "model.mixer_options": options_of(name)} for name in MIXERS]
    return product(arms, seeds(2))
