"""Plain samplers draw the documents of the tasks that they are a baseline for."""

import dataclasses
import importlib
import json
import random
import types

import numpy as np

from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support.task_cases import read_multi_query, read_recall

sampling = importlib.import_module("mecheval_jax.benchmarks.sampling")


# Catches a baseline of other documents: a reader of the task finds each answer.
def test_plain_recall():
    random.seed(0)
    for _ in range(20):
        document = sampling.plain_recall()
        assert len(document) == sampling.RECALL.max_length
        reading = read_recall(sampling.RECALL, document[:-2], len(document), 0)
        assert reading.answer == document[-2]


# Catches queries that do not ask for their pairs, and labels at other places.
def test_plain_multi_query():
    np.random.seed(0)
    document, labels = sampling.plain_multi_query()
    (at,) = labels.nonzero()
    assert len(at) == sampling.MULTI_QUERY.pairs[0]
    for query in at.tolist():
        number = document[: 2 * len(at) : 2].tolist().index(document[query])
        tokens = document[: query + 1].tolist()
        reading = read_multi_query(sampling.MULTI_QUERY, tokens, len(document), number)
        assert reading.answer == labels[query]


# Catches a task that no longer draws as the benchmark asks it to.
def test_every_sampler_has_a_row(rows):
    easy = Treecall(longest=20)
    tasks = (
        AssociativeRecall(pairs=2, key_vocabulary=4, value_vocabulary=4),
        MultiQueryRecall(vocabulary=26, lengths=(24,), pairs=(3,)),
        easy,
    )
    samplers = [sampling.Sampler(f"task {i}", t, 10, lambda: None) for i, t in enumerate(tasks)]
    small = {"BATCH": 16, "PLAIN_DOCUMENTS": 2, "SET": 3, "SAMPLERS": samplers}
    trees = dict.fromkeys(("EASY", "MEDIUM", "LARGE"), easy)
    table = rows(sampling, sampling.measure_samplers, seconds=lambda call: 2.0, **small, **trees)
    assert [table[f"task {i}"]["here"] for i in range(3)] == [8] * 3
    assert sum("memory" in row for row in table.values()) == 3


# Catches rows that do not come back from the process that measures them.
def test_rows_come_from_a_process_of_one_core(monkeypatch):
    row = Measured("a task", "here", (2.0, 3.0), sampling.RATE)
    text = f"a warning\n{json.dumps([dataclasses.asdict(row)])}\n"
    commands = []

    def run(command, **_):
        commands.append(command)
        return types.SimpleNamespace(stdout=text)

    monkeypatch.setattr(sampling.subprocess, "run", run)
    assert list(sampling.sampling()) == [row]
    assert "sched_setaffinity" in commands[0][-1]
