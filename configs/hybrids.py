"""Hybrids: which layers bind and which read, where attention stands first, last or in the middle?

Question: when attention and a recurrence share a model, which of the two joins key and value, and
which looks them up?

    python -m launch.sweep --config=configs/hybrids.py --workdir=DIR
    python -m launch.evaluate --workdir=DIR/groups/GROUP/members/RUN --analyses=components

for every RUN. The default is one of them, Mamba before attention, on 4 pairs of 16 keys and values:
a run of a minute or two. With ``smoke=True`` it is a run of a few seconds that learns nothing.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short_recall
from configs.grids import Changes, axis, mixers, product, seeds, zipped
from mecheval_jax.errors import UserError, choose

RECURRENT = ("mamba", "mamba2", "gated_delta_net")
ORDERS = {
    "first": "attention,{other}",
    "last": "{other},attention",
    "middle": "{other},attention,{other}",
}
"""Layers of a hybrid by where its attention stands."""


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: recurrent, attention (first, last, middle), pairs, keys, and those of all configs.

    With `mixer` all layers are of that one, and the first two are ignored.
    """
    defaults = {"mixer": "", "width": 32, "layers": 0, "learning_rate": 3e-3, "steps": 4000}
    own = {"recurrent": "mamba", "attention": "last", "pairs": 4, "keys": 16}
    arguments = parse(arg, COMMON | defaults | own)
    if not arguments["mixer"]:
        choose("recurrent mixer", arguments["recurrent"], RECURRENT)
        order = ORDERS[choose("place of the attention", arguments["attention"], ORDERS)]
        arguments["mixer"] = order.format(other=arguments["recurrent"])
        layers = order.count(",") + 1
        if arguments["layers"] not in (0, layers):
            raise UserError(
                f"config argument layers={arguments['layers']}: this hybrid has {layers}, one for "
                f"each of {arguments['mixer']}"
            )
        arguments["layers"] = layers
    arguments["layers"] = arguments["layers"] or COMMON["layers"]
    config = short_recall(arguments["pairs"], arguments["keys"])
    config.model.max_length = 64
    config.training.target_accuracy = 0.99  # on dev documents, where training ends
    return apply(config, arguments)


def sweep() -> Changes:
    """Three recurrences with attention first, last and in the middle, with two seeds."""
    hybrids = [order.format(other=other) for other in RECURRENT for order in ORDERS.values()]
    arms = zipped(mixers(hybrids), axis("model.layers", [name.count(",") + 1 for name in hybrids]))
    return product(arms, seeds(2))
