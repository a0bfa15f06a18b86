"""A user's own documents, in a file of JSON lines (docs/documents.md).

Question: by which mechanism does a model recall what *these* documents say?

    python -m launch.train --config=configs/documents.py --workdir=DIR

The default file, ``docs/examples/orders.jsonl``, holds 3,000 documents that note orders and later
ask where some of them go. The default, a layer of Mamba below one of attention, answered all
questions in unseen documents with each of four seeds, by ``induction`` (43 % for the best heuristic
without recall), and Gated DeltaNet 94 to 99 %. Based answers nearly all, or 32 to 37 %, by seed and
machine. Mamba alone memorises so small a file: in all settings that were tried, of at most 1,500
steps, its accuracy on other documents stayed below 50 %.
"""

from ml_collections import ConfigDict

from configs.arguments import COMMON, apply, parse
from configs.base import short
from configs.grids import Changes, axis, mixers, product, seeds

EXAMPLE = "docs/examples/orders.jsonl"


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: path, tokenizer, mixer, width, layers, learning_rate, steps, seed, smoke."""
    arguments = parse(
        arg,
        COMMON
        | {
            "path": EXAMPLE,
            "tokenizer": "whitespace",
            "mixer": "mamba,attention",
            "learning_rate": 3e-3,
            "steps": 1500,
        },
    )
    config = short()
    config.task = ConfigDict()
    config.task.name = "documents"
    config.task.path = arguments["path"]  # file with one JSON object per line
    config.task.tokenizer = arguments["tokenizer"]  # whitespace, bytes, ids, or a tokenizer.json
    config.task.first_answer_token = False  # whether the first token of a longer answer is scored
    config.task.dev = 0.1  # share of the documents in dev, by a hash of each
    config.task.test = 0.2  # share of the documents in test
    config.task.max_length = 0  # greatest number of tokens of a document; 0: no limit
    config.task.value_is_answer = True  # whether the token at value must be the answer
    config.task.sha256 = ""  # expected hash of the file; filled in if empty
    config.training.evaluation_documents = 256  # the example has 293 in dev, 584 in test
    config.evaluation.roles = ("key", "value", "next_key", "query")  # documents name no divider
    return apply(config, arguments)


def sweep() -> Changes:
    """Two architectures at two seeds."""
    both = mixers(("mamba,attention", "gated_delta_net"))
    return product(both, axis("training.learning_rate", (3e-3,)), seeds(2))
