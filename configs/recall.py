"""Associative recall with any mixer: the config to start one's own experiments from.

Question: can this architecture recall, and how?

    python -m launch.train --config=configs/recall.py:mixer=attention,width=64 --workdir=DIR

The default is 8 pairs of 128 keys and 128 values, fresh documents at every step. Every
field can be changed on the command line, ``--config.training.steps=20000``. With
``smoke=True`` it is a run of seconds that learns nothing.
"""

from configs.arguments import parse
from configs.base import base


def get_config(arg: str = ""):
    """Arguments: mixer, width, layers, pairs, keys, learning_rate, steps, seed, smoke."""
    arguments = parse(
        arg,
        {
            "mixer": "attention",
            "width": 64,
            "layers": 2,
            "pairs": 8,
            "keys": 128,
            "learning_rate": 1e-3,
            "steps": 3000,
            "seed": 0,
            "smoke": False,
        },
    )
    config = base()
    config.task.pairs = arguments["pairs"]
    config.task.key_vocabulary = arguments["keys"]
    config.task.value_vocabulary = arguments["keys"]
    config.model.mixer = arguments["mixer"]
    config.model.width = arguments["width"]
    config.model.layers = arguments["layers"]
    config.model.positions = positions(arguments["mixer"])
    config.training.learning_rate = arguments["learning_rate"]
    config.training.batch_size = 64
    config.training.steps = arguments["steps"]
    config.training.seed = arguments["seed"]
    config.training.data_seed = arguments["seed"]
    config.training.evaluate_every = 250
    config.training.checkpoint_every = 1000
    if arguments["smoke"]:
        make_small(config)
    return config


def positions(mixer):
    """Learned positions for attention alone, as in the study."""
    return "learned" if mixer == "attention" else "none"


def make_small(config):
    """Turn a config into a run of seconds."""
    config.training.steps = 20
    config.training.evaluate_every = 10
    config.training.steps_per_dispatch = 10
    config.evaluation.documents = 32
    config.evaluation.resamples = 200


def sweep():
    """Two architectures at three learning rates and two seeds."""
    return [
        {
            "model.mixer": mixer,
            "model.positions": positions(mixer),
            "training.learning_rate": rate,
            "training.seed": seed,
            "training.data_seed": seed,
        }
        for mixer in ("based", "mamba")
        for rate in (3e-4, 1e-3, 3e-3)
        for seed in (0, 1)
    ]
