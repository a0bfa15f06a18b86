"""Treecall with every setting that changes its documents, and their derivations."""

import functools

import jax
import numpy as np

from mecheval_jax.benchmarks.plain_treecall import Node
from mecheval_jax.tasks.treecall.derivation import ROOT, derive
from mecheval_jax.tasks.treecall.queries import QUERY_TYPES
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support import small

VARIANTS = {
    "easy": Treecall(),
    "medium": Treecall(symbols=10, seed=1, longest=300),
    "left": Treecall(head_side="left", seed=2),
    "mixed": Treecall(query_types=QUERY_TYPES, heads="uniform", seed=3, longest=40),
    "child": Treecall(query_types=("child",), order="query_first", seed=4),
    "sibling": Treecall(query_types=("sibling",), seed=5, terminals=8),
}


@functools.cache
def drawn(task, count=4000, split="train"):
    return task.draw(jax.random.key(0), count, split)


@functools.cache
def derived(task, count=400):
    return derive(task.grammar, np.random.default_rng(0), count, task.longest)


def nodes_of(found, document):
    """One derivation as the plain sampler has it."""
    start, stop = found.starts[document], found.starts[document + 1]
    nodes = [Node(int(label)) for label in found.labels[start:stop]]
    for place, parent in enumerate(found.parents[start:stop]):
        nodes[place].place = place
        nodes[place].parent = None if parent == ROOT else nodes[parent - start]
    return nodes


SMALL = {
    "name": "treecall",
    "longest": 60,
    "query_types": ["parent"],
}
"""The task of `experiment`."""


def experiment(**training):
    """A small experiment on Treecall."""
    shape = small.ONE_LAYER | {"model.max_length": 128, "evaluation.documents": 8}
    return small.experiment(shape | {"task": SMALL}, **training)
