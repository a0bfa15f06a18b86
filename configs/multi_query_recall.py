"""Multi-query associative recall (MQAR, the task of Zoology, arXiv 2312.04927).

Question: up to which number of pairs and which length does an architecture answer every query?

    python -m launch.train --config=configs/multi_query_recall.py:mixer=based --workdir=DIR

The default mixes three settings, a quarter, a half and the whole of `length` and `pairs`:
2 pairs in 16 tokens, 4 in 32, 8 in 64. ``slices.csv`` and the report show accuracy by number of
pairs, by length and by distance. Expected: Based answers 96 % of the test queries after two
to three minutes on one core (best floor 26 %): 100 %, 98 % and 93 % of those with 2, 4 and 8 pairs,
and 88 % of those 32 to 63 tokens from their key. Zoology's own setting is
``vocabulary=8192,length=256,pairs=64``. With ``smoke=True`` it is a run of a few seconds that
learns nothing.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, at_least_one, parse
from configs.base import short
from configs.grids import Changes, axis, mixers, product

EVALUATION_ROLES = ("key", "value", "next_key", "value+2", "query")


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of configs/recall.py except keys, and vocabulary, length."""
    arguments = parse(
        arg,
        COMMON
        | {
            "mixer": "based",
            "vocabulary": 256,
            "length": 64,
            "pairs": 8,
            "learning_rate": 3e-3,
            "steps": 2000,
        },
    )
    at_least_one(arguments, "length", "pairs")
    config = short()
    config.task = ConfigDict()
    config.task.name = "multi_query_recall"
    config.task.vocabulary = arguments["vocabulary"]  # number of ids of keys and values; even
    config.task.lengths = shares(arguments["length"])  # tokens of a document in each setting
    config.task.pairs = shares(arguments["pairs"])  # pairs of a document in each setting
    config.task.num_passes = 1  # number of times that the pairs occur
    config.task.power = 0.01  # small: queries soon after the pairs; 1: anywhere after them
    config.task.noise = True  # whether positions without a query hold random tokens, not 0
    config.task.equal_documents = False  # whether documents of few pairs weigh as those of many
    config.evaluation.roles = EVALUATION_ROLES
    return apply(config, arguments)


def shares(whole: int) -> tuple[int, ...]:
    """A quarter, a half and the whole of a number, each at least 1."""
    return tuple(max(1, whole * quarters // 4) for quarters in (1, 2, 4))


def sweep() -> Changes:
    """Three architectures at two widths and two learning rates."""
    return product(
        mixers(("attention", "based", "mamba")),
        axis("model.width", (32, 64)),
        axis("training.learning_rate", (1e-3, 3e-3)),
    )
