"""The quickstart: a task that two architectures learn in a minute or two.

Question: Based and Mamba both recall; do they do it in the same way?

    bash launch/quickstart.sh

Documents have 4 pairs of 32 keys and 32 values; a training set of 25,600 documents (400 batches of
64) is replayed. The settings were chosen because both architectures learn the task with them
(Mamba memorises a set of 6,400 and reaches 88 % on other documents, and it learns slowly from
fresh documents). Expected: test accuracies of at least 95 %, ``induction`` for Based and, on two
cores, ``convolutional_binding`` for Mamba. That one depends on the seed and on how sums are
rounded: on one core seeds 1 to 3 have 98.8 to 99.7 % and end as ``undecided`` (two) or ``mixed``,
and seed 0 has 95 % and is ``undecided``.
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
    "mamba": (1e-2, 4000),
}


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer (based or mamba), smoke."""
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
