"""What a short convolution decides: recall in one layer (arXiv 2508.19029).

Question: which parts does one layer need to recall, and where does it bind a key to its value if it
has no convolution?

    python -m launch.sweep --config=configs/short_convolutions.py --workdir=DIR

Expected from the paper, whose task is larger: attention recalls 2 %, with convolutions on queries,
keys and values 99 %; Mamba 99 %, without its convolution 2 %, without its gate 98 %, and without
both but with an MLP behind it 98 %. That last one is unexplained there: nothing in its mixer lets a
value's token see the key. Here the documents have 8 pairs of 32 keys and values, each arm has two
learning rates and two seeds, and a run ends early at 99 % of 320 dev documents. The sweep of 28
runs takes three quarters of an hour on one core. What was found: docs/experiments.md.

The last arm stands beside its control without the MLP. With ``smoke=True`` it is a run of a few
seconds that learns nothing.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short_recall
from configs.grids import Changes, axis, mixers, product, seeds

BARE = {"d_conv": 0, "gated": False}
ATTENTION = (
    {"model.canon": 0},
    {"model.canon": 4, "model.canon_at": "B"},  # on queries, keys and values
)
MAMBA = (
    {"model.mixer_options": {}},
    {"model.mixer_options": {"d_conv": 0}},
    {"model.mixer_options": {"gated": False}},
    {"model.mixer_options": BARE},
    {"model.mixer_options": BARE, "model.mamba_feed_forward": "mlp"},
)


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, pairs, keys, learning_rate, steps, seed, smoke."""
    arguments = parse(arg, COMMON | {"layers": 1, "pairs": 8, "keys": 32})
    config = short_recall(arguments["pairs"], arguments["keys"])
    config.model.max_length = 64
    config.training.target_accuracy = 0.99  # on dev documents, where training ends
    return apply(config, arguments)


def sweep() -> Changes:
    """Seven arms at two learning rates, with two seeds."""
    arms = product(mixers(("attention",)), list(ATTENTION))
    arms += product(mixers(("mamba",)), list(MAMBA))
    return product(arms, axis("training.learning_rate", (1e-3, 3e-3)), seeds(2))
