"""Associative Treecall: recall in documents that a grammar derives, with any mixer.

Question: does an architecture find a terminal's parent, and by which mechanism?

    python -m launch.train --config=configs/treecall.py:mixer=mamba,width=64 --workdir=DIR

The default is "L = 5" of arXiv 2505.15105 with 20 terminals: yields of 9 symbols on average and at
most 122. ``symbols=10`` is its "L = 10", with 42 symbols on average; derivations of more than 1,024
are left out. ``terminals=8192`` is its large vocabulary, in which all terminals together weigh as
much as 20 nonterminals. Runs with the same ``grammar`` number share a grammar. Batches, and in long
runs parts of them, are padded to the next power of two of their longest document.
``python -m launch.inspect --config=configs/treecall.py`` prints documents, statistics and floors;
copying the next token is right in 56 to 58 % of the documents (41 % with ``symbols=10``).
"""

from ml_collections import ConfigDict, config_dict

from configs.arguments import COMMON, apply, parse
from configs.base import base
from configs.grids import Changes, axis, mixers, product

LONGEST = 1024  # greatest number of symbols of a yield
LARGE = 1000  # number of terminals from which on they have a common weight


def task(
    terminals: int = 20, symbols: int = 5, grammar: int = 0, held_out: float = 0.0
) -> ConfigDict:
    """The section ``task`` of the config.

    Args:
        terminals: Number of terminals.
        symbols: Greatest number of symbols of an expansion, its head included.
        grammar: Seed of the grammar.
        held_out: Fraction of the (parent, child) cells that only the test split asks.
    """
    config = ConfigDict()
    config.name = "treecall"
    config.terminals = terminals  # number of terminals
    config.nonterminals = 40  # number of nonterminals
    config.levels = 10  # number of levels; a nonterminal produces only larger ones
    config.rules = 5  # greatest number of rules of a nonterminal
    config.symbols = symbols  # greatest number of symbols of an expansion, with its head
    # Weight of all terminals together when a rule is drawn, a nonterminal having 1; None: 1 each.
    config.terminal_weight = config_dict.placeholder(float)
    if terminals >= LARGE:
        config.terminal_weight = 20.0
    config.rule_concentration = 1.0  # Dirichlet concentration of the rules' probabilities
    config.head_concentration = 1.0  # Dirichlet concentration of the heads' probabilities
    config.heads = "informative"  # distribution of heads: informative, uniform
    config.head_side = "right"  # end of an expansion at which its head stands: right, left
    config.seed = grammar  # seed of the grammar and of the held-out cells
    config.grammar_file = config_dict.placeholder(str)  # JSON of a grammar; None: drawn
    config.grammar_sha256 = ""  # hash of that grammar; filled in if empty
    config.query_types = ("parent",)  # parent, child, sibling; a token tells them apart
    config.order = "target_first"  # order of drawing: target_first, query_first
    config.shortest = 3  # smallest number of symbols of a yield
    config.longest = LONGEST  # greatest number of symbols of a yield
    config.held_out = held_out  # fraction of the (parent, child) cells only test asks
    return config


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: mixer, width, layers, learning_rate, steps, seed, smoke, and of the task.

    Those are terminals, symbols, grammar, held_out and query, one type or several joined by "+".
    """
    arguments = parse(
        arg,
        COMMON
        | {
            "terminals": 20,
            "symbols": 5,
            "grammar": 0,
            "query": "parent",
            "held_out": 0.0,
            "steps": 5000,
        },
    )
    config = base()
    config.task = task(*(arguments[n] for n in ("terminals", "symbols", "grammar", "held_out")))
    config.task.query_types = tuple(arguments["query"].split("+"))
    config.model.max_length = LONGEST + 6  # the longest document
    return apply(config, arguments)


def sweep() -> Changes:
    """Two architectures on two grammars of each size."""
    return product(
        mixers(("attention", "mamba")),
        axis("task.symbols", (5, 10)),
        axis("task.seed", (0, 1)),
        axis("training.learning_rate", (1e-3,)),
    )
