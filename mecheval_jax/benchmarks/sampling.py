"""Benchmark of sampling: documents per second on one core, compared with plain samplers.

They are measured in a separate process, which must be restricted to one core before jax starts.
"""

import dataclasses
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mecheval_jax.benchmarks import plain_treecall
from mecheval_jax.benchmarks.measured import Measured, one
from mecheval_jax.evaluation.cost.timing import seconds
from mecheval_jax.tasks.base import BOS, EOS
from mecheval_jax.tasks.synthetic.associative_recall import FIRST_KEY, AssociativeRecall
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.treecall.treecall import Treecall
from mecheval_jax.training.data import BLOCK, HostDocuments
from mecheval_jax.training.replay import Replay

ON_ONE_CORE = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from mecheval_jax.benchmarks.sampling import measure_samplers
import dataclasses, json
print(json.dumps([dataclasses.asdict(row) for row in measure_samplers()]))
"""

RATE = "doc/s"
BATCH = 8192
PLAIN_DOCUMENTS = 500


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A task whose sampling is measured.

    Attributes:
        name: Description of the task.
        task: Task that is sampled.
        goal: Rate that it should reach, in documents per second.
        plain: Function that draws one document with NumPy's or Python's random numbers.
    """

    name: str
    task: Any
    goal: int
    plain: Callable[[], Any]


RECALL = AssociativeRecall()
MULTI_QUERY = MultiQueryRecall()
EASY, MEDIUM = Treecall(), Treecall(symbols=10)
LARGE = Treecall(terminals=8192, terminal_weight=20.0)
SET = 3126
"""Number of batches of 32 documents in the training set of arXiv 2505.15105."""


def plain_recall() -> list[int]:
    """Draw a document of `RECALL`."""
    keys = random.sample(range(FIRST_KEY, FIRST_KEY + RECALL.key_vocabulary), RECALL.pairs)
    first_value = FIRST_KEY + RECALL.key_vocabulary
    values = random.sample(range(first_value, first_value + RECALL.value_vocabulary), RECALL.pairs)
    asked = random.randrange(RECALL.pairs)
    document = [BOS]
    for key, value in zip(keys, values, strict=True):
        document += [key, value]
    return [*document, EOS, keys[asked], values[asked], EOS]


def plain_multi_query() -> tuple[np.ndarray, np.ndarray]:
    """Draw a document of `MULTI_QUERY` and its labels, which are 0 at positions without a query."""
    (length,), (pairs,) = MULTI_QUERY.lengths, MULTI_QUERY.pairs
    half = MULTI_QUERY.vocabulary // 2
    keys = np.random.choice(np.arange(1, half), pairs, replace=False)
    values = np.random.choice(np.arange(half, MULTI_QUERY.vocabulary), pairs, replace=False)
    places = np.arange(1, length // 2 - pairs + 1)
    weights = places ** (MULTI_QUERY.power - 1)
    chosen = np.random.choice(places, pairs, replace=False, p=weights / weights.sum())
    query = 2 * pairs + 2 * (chosen - 1)
    document = np.random.randint(MULTI_QUERY.vocabulary, size=length)
    document[0 : 2 * pairs : 2], document[1 : 2 * pairs : 2] = keys, values
    document[query] = keys
    labels = np.zeros(length, int)
    labels[query] = values
    return document, labels


def plain_tree(task: Treecall) -> Callable[[], Any]:
    """A function that draws a document of a Treecall task."""
    source = random.Random(0)
    sampler = plain_treecall.sampler(task, source)
    return lambda: next(sampler)


SAMPLERS = (
    Sampler("AR, 16 pairs of 4,096", RECALL, 200_000, plain_recall),
    Sampler("MQAR, 64 pairs, 256 tokens, 8,192 symbols", MULTI_QUERY, 20_000, plain_multi_query),
    Sampler("ATR, L = 5, 20 terminals", EASY, 50_000, plain_tree(EASY)),
    Sampler("ATR, L = 10, 20 terminals", MEDIUM, 15_000, plain_tree(MEDIUM)),
)


def sampling() -> Iterator[Measured]:
    """Documents per second on one core, measured in a separate process."""
    command = [sys.executable, "-c", ON_ONE_CORE]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    for row in json.loads(found.splitlines()[-1]):
        yield Measured(**row | {"values": tuple(row["values"])})


def rate(task: Any) -> float:
    """Rate of sampling batches of `BATCH` documents, in documents per second."""
    if task.traceable:
        sample = jax.jit(lambda key: task.sample(key, BATCH, "train"))
        return BATCH / seconds(lambda: sample(jax.random.key(0)))
    return BATCH / seconds(lambda: task.draw(jax.random.key(0), BATCH, "train"))


def plain_rate(draw: Callable[[], Any]) -> float:
    """Rate of drawing single documents, in documents per second."""
    start = time.perf_counter()
    for _ in range(PLAIN_DOCUMENTS):
        draw()
    return PLAIN_DOCUMENTS / (time.perf_counter() - start)


def measure_samplers() -> Iterator[Measured]:
    """Rates of `SAMPLERS`, and times of whole training sets, on this process's cores."""
    for sampler in SAMPLERS:
        yield one(sampler.name, "here", rate(sampler.task), RATE)
        yield one(sampler.name, "goal", sampler.goal, RATE)
        yield one(sampler.name, "plain sampler", plain_rate(sampler.plain), RATE)
    for name, task in (("ATR, L = 5", EASY), ("ATR, L = 10", MEDIUM), ("ATR, 8,192", LARGE)):
        documents = HostDocuments(task, jax.random.key(0), 32, Replay(SET))
        start = time.perf_counter()
        for step in range(0, SET, BLOCK):
            documents.parts(step)
        spent = time.perf_counter() - start
        yield one(f"{name}, {32 * SET:,} documents", "memory", documents.nbytes, "B")
        yield one(f"{name}, {32 * SET:,} documents", "time", spent, "s")
