"""Models whose mechanism is known, on documents in which the value may stand before the key.

Treecall derives four pairs under a common root, in any of a few orders. Every pair has tokens of
its own, so that none occurs twice:

    child     <bos> c h c h c h c h R <eos> h    the child of a head, which stands before it
    left      <bos> R h c h c h c h c <eos> c    the parent of a child, with heads on the left
    sibling   <bos> a b h a b h ... R <eos> a    the last symbol with the same parent

Own documents have their values first, ``v3 k1 v2 k5 ... | k5``. All models are inductions: layer 0
copies the token before, and layer 1 looks up what is asked. What stands beside the asked item is
the answer here, so that heuristics which read there are recall.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
import tempfile

import jax
import numpy as np

from mecheval_jax.array_types import Key
from mecheval_jax.ground_truth.planted import Planted, attend_twice
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.floors import with_best
from mecheval_jax.tasks.treecall.grammar import Grammar
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support.planted_places import reversed_induction

PAIRS, CHOICES = 4, 3
"""Pairs of a document, and tokens that can stand at a place of a pair."""


@dataclasses.dataclass(frozen=True)
class PairedTrees(Treecall):
    """Treecall on a grammar of pairs.

    Attributes:
        children: Children of a head.
    """

    children: int = 1

    recall_like = ("copy_next", "copy_previous", "offset", "offset_by_tokens")

    @classmethod
    def of(cls, children: int = 1, **fields) -> "PairedTrees":
        """The task with so many children; all documents are of one length."""
        length = PAIRS * (1 + children) + 1
        terminals = PAIRS * (1 + children) * CHOICES + 1
        limits = {"shortest": length, "longest": length}
        return cls(terminals=terminals, children=children, **limits, **fields)

    @functools.cached_property
    def grammar(self) -> Grammar:
        """The root has the pairs in one of several orders; a pair any of its children and heads."""
        places = np.arange(self.terminals - 1).reshape(PAIRS, 1 + self.children, CHOICES)
        pairs = range(self.terminals + 1, self.terminals + 1 + PAIRS)
        orders = [tuple(pairs[(i + step) % PAIRS] for i in range(PAIRS)) for step in range(PAIRS)]
        rules = [tuple(orders)]
        heads = np.zeros((1 + PAIRS, self.terminals))
        heads[0, -1] = 1
        for number, (*children, head) in enumerate(places.tolist(), start=1):
            rules.append(tuple(itertools.product(*children)))
            heads[number, head] = 1 / CHOICES
        return Grammar(
            terminals=self.terminals,
            levels=(1, *[2] * PAIRS),
            rules=tuple(rules),
            rule_probabilities=tuple((1 / len(options),) * len(options) for options in rules),
            head_probabilities=heads,
            head_side=self.head_side,
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of Treecall, without recall."""
        found = super().floors(key, documents, split, first=first)
        return with_best({n: x for n, x in found.items() if n != "best"}, self.recall_like)


CHILD = PairedTrees.of(query_types=("child",), order="query_first")
LEFT = PairedTrees.of(head_side="left")
SIBLING = PairedTrees.of(children=2, query_types=("sibling",))


def child(seed: int = 0) -> Planted:
    """Asked for the child of a head: the token before it."""
    return reversed_induction(seed, CHILD)


def left_heads(seed: int = 0) -> Planted:
    """Asked for the parent of a child: the token before it."""
    return reversed_induction(seed, LEFT)


def sibling(seed: int = 0) -> Planted:
    """Asked for the last symbol with the same parent: the token after it, if it can be one.

    A last symbol is its own sibling, and so is the root; nothing is written for them.
    """
    first = SIBLING.classes["t"].start
    last = first + np.arange(SIBLING.terminals - 1).reshape(PAIRS, 3, CHOICES)[:, 1].ravel()

    def looked_up(identity: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return previous.T @ identity, identity[last].T @ identity[last]

    return attend_twice(seed, SIBLING, looked_up)


@functools.cache
def value_first(often: int | None = None, fillers_at: int = 0) -> Documents:
    """Own documents of four pairs, each with its value first.

    Args:
        often: Index of a pair that two documents of three ask; each is asked as often as the
            others if None.
        fillers_at: 1 for up to three fillers before all pairs, 2 for them behind; 0 for none.
    """
    draw, lines = np.random.default_rng(0), []
    askable = range(PAIRS) if often is None else (*range(PAIRS), *[often] * (2 * PAIRS - 3))
    for _ in range(1500):
        keys, values = (draw.choice(8, PAIRS, replace=False) for _ in "kv")
        words = [word for k, v in zip(keys, values, strict=True) for word in (f"v{v}", f"k{k}")]
        asked = int(draw.choice(askable))
        fillers = ["w"] * int(draw.integers(4)) if fillers_at else []
        before, behind = (fillers, []) if fillers_at == 1 else ([], fillers)
        value, divider = len(before) + 2 * asked, len(fillers) + 2 * PAIRS
        words = [*before, *words, *behind, "|", words[2 * asked + 1]]
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        span = lambda i, starts=starts: [int(starts[i]), int(starts[i + 1]) - 1]
        query = {"query": span(divider + 1), "answer": words[value]}
        query |= {"value": span(value), "key": span(value + 1)}
        query["roles"] = {"divider": span(divider)}
        lines.append(json.dumps({"text": " ".join(words), "queries": [query]}))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "value_first.jsonl"
        path.write_text("\n".join(lines))
        task = Documents(str(path), dev=0.05, test=0.85)
        for split in ("train", "test"):  # read while the file is there
            task.draw(jax.random.key(0), 1, split)
    return task


def own_documents(seed: int = 0) -> Planted:
    """Own documents, asked for the token before what is asked."""
    task = value_first()
    divider = next(i for i in range(task.vocabulary_size) if task.name_of(i) == "|")
    return reversed_induction(seed, task, divider)
