"""The study's Associative Treecall (arXiv 2505.15105): two layers, three languages.

Question: does recall in documents with structure need another mechanism than in plain lists?

    python -m launch.train --workdir=DIR \
        --config=configs/study/atr_two_layers.py:mixer=mamba,language=easy,width=64

``easy`` is L = 5 with 20 terminals, ``medium`` L = 10 with 20, ``large`` L = 5 with 8,192. A fixed
set of 100,032 documents (3,126 batches of 32) is replayed 32 times, 100,032 steps. Learned
positions for attention alone. ``held_out=0.2`` keeps a fifth of the (parent, child) cells for the
test split and lets the rate fall linearly, as in the study's runs on held-out pairs. Expected at
width 64 (the study, best learning rate, one grammar): easy, mamba 96 %, attention 94 %; the
floors of copying lie near 50 %.
"""

from configs import recall, treecall
from configs.arguments import parse
from configs.base import base
from configs.study.ar_two_layers import EPOCH, WIDTHS
from mecheval_jax.errors import choose

LANGUAGES = {
    # terminals, symbols
    "easy": (20, 5),
    "medium": (20, 10),
    "large": (8192, 5),
}
LEARNING_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
MIXERS = ("attention", "base_conv", "based", "h3", "hyena", "mamba")


def get_config(arg: str = ""):
    """Arguments: mixer, language, width, layers, learning_rate, held_out, seed, smoke."""
    arguments = parse(
        arg,
        {
            "mixer": "attention",
            "language": "easy",
            "width": 64,
            "layers": 2,
            "learning_rate": 1e-3,
            "held_out": 0.0,
            "seed": 0,
            "smoke": False,
        },
    )
    terminals, symbols = LANGUAGES[choose("language", arguments["language"], LANGUAGES)]
    config = base()
    config.task = treecall.task(terminals, symbols, held_out=arguments["held_out"])
    config.model.mixer = arguments["mixer"]
    config.model.width = arguments["width"]
    config.model.layers = arguments["layers"]
    config.model.positions = recall.positions(arguments["mixer"])
    config.model.max_length = config.task.longest + 6
    config.training.learning_rate = arguments["learning_rate"]
    config.training.seed = arguments["seed"]
    config.training.data_seed = arguments["seed"]
    config.training.steps = 32 * EPOCH
    config.training.training_batches = EPOCH
    if arguments["held_out"]:
        config.training.decay = "linear"
    if arguments["smoke"]:
        recall.make_small(config)
    return config


def sweep():
    """The study's grid on the easy language; ``--config=...:language=`` chooses another."""
    return [
        {
            "model.mixer": mixer,
            "model.positions": recall.positions(mixer),
            "model.width": width,
            "training.learning_rate": rate,
        }
        for mixer in MIXERS
        for width in WIDTHS
        for rate in LEARNING_RATES
    ]
