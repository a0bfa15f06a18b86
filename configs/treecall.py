"""Associative Treecall: recall in documents that one grammar derives, with any mixer.

Question: does an architecture find a terminal's parent, and by which mechanism?

    python -m launch.train --config=configs/treecall.py:mixer=mamba,width=64 --workdir=DIR

The default is the study's "L = 5" with 20 terminals: yields of 15 symbols on average, up to 1,024;
``symbols=10`` is its "L = 10", ``terminals=8192`` its large vocabulary, in which all terminals
together weigh as much as 20 nonterminals. All runs with one ``grammar`` number share a grammar.
Batches are padded to the next power of two of their longest document, and a step is compiled once
for each. ``python -m launch.inspect --config=configs/treecall.py`` prints documents, statistics
and the floors, of which copying the next token is right in about half of the documents.
"""

from ml_collections import ConfigDict, config_dict

from configs.arguments import COMMON, apply, parse
from configs.base import base
from configs.grids import axis, mixers, product

LARGE = 1000  # terminals from which on they count as a weight


def task(terminals=20, symbols=5, grammar=0, held_out=0.0):
    """The section of the task."""
    config = ConfigDict()
    config.name = "treecall"
    config.terminals = terminals  # number of terminals
    config.nonterminals = 40  # number of nonterminals
    config.levels = 10  # a nonterminal produces only those of larger levels
    config.rules = 5  # of a nonterminal, at most
    config.symbols = symbols  # of an expansion with its head, at most
    # Options for which all terminals together count when a rule is drawn; None: one each.
    config.terminal_weight = config_dict.placeholder(float)
    if terminals >= LARGE:
        config.terminal_weight = 20.0
    config.rule_concentration = 1.0  # Dirichlet concentration of the rules' probabilities
    config.head_concentration = 1.0  # and of the heads'
    config.heads = "informative"  # or uniform
    config.head_side = "right"  # end of an expansion at which its head stands; or left
    config.seed = grammar  # of the grammar and of the held-out cells
    config.grammar_file = config_dict.placeholder(str)  # a grammar as JSON, in place of a drawn one
    config.grammar_sha256 = ""  # of that grammar; filled in
    config.query_types = ("parent",)  # parent, child, sibling: several are told by a token
    config.order = "target_first"  # the answer is drawn before the query; or query_first
    config.shortest = 3  # symbols of a yield, at least
    config.longest = 1024  # and at most
    config.held_out = held_out  # fraction of the (parent, child) cells that only test asks
    return config


def get_config(arg: str = ""):
    """Arguments: mixer, width, layers, learning_rate, steps, seed, smoke; terminals, symbols, ...

    Of the task: terminals, symbols, grammar, held_out, and query: one type, or several with "+".
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
    config.model.max_length = config.task.longest + 6  # the longest document
    return apply(config, arguments)


def sweep():
    """Two architectures on two grammars of each kind."""
    return product(
        mixers(("attention", "mamba")),
        axis("task.symbols", (5, 10)),
        axis("task.seed", (0, 1)),
        axis("training.learning_rate", (1e-3,)),
    )
