"""Your own documents, in a file of JSON lines (docs/documents.md).

Question: by which mechanism does a model recall what *these* documents say?

    python -m launch.train --config=configs/documents.py:mixer=based --workdir=DIR

The default file, ``docs/examples/orders.jsonl``, holds 3,000 notes about orders with later
questions where some of them go. Expected of Based at the default settings, after about a minute
on one core: a test accuracy of at least 95 % (24 % for the best heuristic without recall) and
``induction``. Mamba memorises so small a file: with the settings tried, all of at most 1,500
steps, it stayed below 50 % on other documents.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short
from configs.grids import axis, mixers, product, seeds

EXAMPLE = "docs/examples/orders.jsonl"


def get_config(arg: str = ""):
    """Arguments: path, tokenizer, mixer, width, layers, learning_rate, steps, seed, smoke."""
    arguments = parse(
        arg,
        COMMON
        | {
            "path": EXAMPLE,
            "tokenizer": "whitespace",
            "mixer": "based",
            "learning_rate": 3e-3,
            "steps": 1500,
        },
    )
    config = short()
    config.task = ConfigDict()
    config.task.name = "documents"
    config.task.path = arguments["path"]  # one JSON object a line
    config.task.tokenizer = arguments["tokenizer"]  # whitespace, bytes, ids, a tokenizer.json
    config.task.first_answer_token = False  # score the first token of an answer of several
    config.task.dev = 0.1  # share of the documents, by a hash of each
    config.task.test = 0.2  # likewise
    config.task.max_length = 0  # tokens a document may have; 0: as the longest one
    config.task.value_is_answer = True  # False: a value may be another token than the answer
    config.task.sha256 = ""  # of the file; if given, it must be that one
    config.training.evaluation_documents = 256  # the example has 293 in dev, 584 in test
    config.evaluation.roles = ("key", "value", "next_key", "query")  # documents name no divider
    return apply(config, arguments)


def sweep():
    """Two architectures at two seeds."""
    return product(mixers(("based", "mamba")), axis("training.learning_rate", (3e-3,)), seeds(2))
