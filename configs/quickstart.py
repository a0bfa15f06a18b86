"""The quickstart: a task that two architectures learn in a minute.

Question: Based and Gated DeltaNet both recall; do they do it in the same way?

    bash launch/quickstart.sh

Documents have 4 pairs of 32 keys and 32 values; a training set of 25,600 documents (400 batches of
64) is replayed. Both architectures leave the plateau of a guess within 500 steps. Expected: test
accuracies of at least 95 %, ``induction`` for Based and ``convolutional_binding`` for Gated
DeltaNet. That is seed 0; one in four of the others does not learn in time
(``docs/experiments.md``).
"""

from ml_collections import ConfigDict

from configs import recall
from configs.arguments import make_small, parse
from configs.grids import Changes, axis, mixers, zipped
from mecheval_jax.errors import choose

TRAINING_BATCHES = 400  # size of the training set, in batches
SETTINGS = {
    # mixer: learning rate, steps
    "based": (3e-3, 2500),
    "gated_delta_net": (1.5e-3, 1500),
}


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer (based or gated_delta_net), smoke."""
    arguments = parse(arg, {"mixer": "based", "smoke": False})
    rate, steps = SETTINGS[choose("mixer", arguments["mixer"], SETTINGS)]
    config = recall.get_config(f"mixer={arguments['mixer']},pairs=4,keys=32")
    config.training.learning_rate = rate
    config.training.steps = steps
    config.training.training_batches = TRAINING_BATCHES
    if arguments["smoke"]:
        make_small(config)
    return config


def sweep() -> Changes:
    """The architectures of the quickstart."""
    return zipped(
        mixers(SETTINGS),
        axis("training.learning_rate", [rate for rate, _ in SETTINGS.values()]),
        axis("training.steps", [steps for _, steps in SETTINGS.values()]),
    )
