"""A small instance of every task, and a plain reader of its documents.

A reader sees a document up to and with one query, and no more; it gives the answer and says where
every role stands. Ids are counted here again, from the layout that the task's module gives.
"""

import pathlib

from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.induction_heads import InductionHeads
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.noisy_recall import NoisyRecall
from mecheval_jax.tasks.synthetic.selective_copying import SelectiveCopying
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support import memory_cases
from tests.support.reading import ABSENT, EOS, FIRST, Case, Reading, after


def read_recall(task, tokens, length, number):
    """``<bos> k v ... <eos> q (answer q) ...``, keys distinct."""
    del number
    divider, query = tokens.index(EOS), len(tokens) - 1
    key = tokens.index(tokens[-1])
    between = tokens[1:divider]
    noise = FIRST + task.key_vocabulary + task.value_vocabulary
    roles = {"bos": 0, "key": key, "value": key + 1, "divider": divider}
    roles |= {"query": query, "answer": query + 1} | after(key + 1, key, divider)
    properties = {"length": length, "distance": query - key}
    if isinstance(task, NoisyRecall):
        properties["noise"] = sum(token >= noise for token in tokens[key + 2 : divider])
    else:
        properties["pairs"] = len(between) // 2
    return Reading(tokens[key + 1], roles, properties)


def read_multi_query(task, tokens, length, number):
    """The pairs `num_passes` times, then keys among anything."""
    pairs = task.pairs[task.lengths.index(length)]  # the settings differ in length here
    block = 2 * pairs * task.num_passes
    places = {at for at in range(0, block, 2) if tokens[at] == tokens[-1]}
    assert len(places) == task.num_passes
    key, query = max(places), len(tokens) - 1
    assert block - 2 * pairs <= key < block  # any of the pairs: queries begin with a random one
    assert number < pairs
    answers = {tokens[at + 1] for at in places}
    assert len(answers) == 1
    roles = {"key": key, "value": key + 1, "query": query} | after(key + 1, key, block)
    properties = {"length": length, "distance": query - key, "pairs": pairs}
    repeated = {"key": places, "value": {at + 1 for at in places}}
    return Reading(answers.pop(), roles, properties, repeated)


def read_selective_copying(task, tokens, length, number):
    """The i-th marker asks for the i-th token that is no noise."""
    divider, query = tokens.index(EOS), len(tokens) - 1
    assert query == divider + 1 + number
    kept = [at for at in range(1, divider) if tokens[at] < FIRST + task.vocabulary]
    assert len(kept) == task.copied
    value = kept[number]
    roles = {"bos": 0, "value": value, "divider": divider, "query": query}
    properties = {"length": length, "distance": query - value, "number": number}
    return Reading(tokens[value], roles, properties)


def read_induction_heads(task, tokens, length, number):
    """What followed the only other trigger."""
    del task, number
    query = len(tokens) - 1
    assert tokens[-1] == FIRST
    (key,) = (at for at in range(query) if tokens[at] == FIRST)
    roles = {"bos": 0, "key": key, "value": key + 1, "query": query} | after(key + 1, key, query)
    return Reading(tokens[key + 1], roles, {"length": length, "distance": query - key})


def read_fuzzy_recall(task, tokens, length, number):
    """The tokens of the key asked, then so many of its value: the next one."""
    is_key = [FIRST <= token < FIRST + task.key_vocabulary for token in tokens]
    divider, query = tokens.index(EOS), len(tokens) - 1
    asked = [tokens[at] for at in range(divider + 1, query + 1) if is_key[at]]
    assert tokens[divider + 1 :] == asked + tokens[query + 1 - number :]
    # Runs of key tokens with the run of value tokens behind each.
    pairs, at = [], 1
    while at < divider:
        start = at
        while is_key[at]:
            at += 1
        first_value = at
        while at < divider and not is_key[at]:
            at += 1
        pairs.append((tokens[start:first_value], first_value, at))
    matching = [(first, stop) for items, first, stop in pairs if items == asked]
    assert len(matching) == 1
    assert len(pairs) == task.pairs
    first, stop = matching[0]
    key, value = first - 1, first + number
    roles = {"bos": 0, "key": key, "value": value, "divider": divider, "query": query}
    roles |= {"answer": query + 1} | after(value, key, divider)
    properties = {"length": length, "distance": query - key, "answer_token": number}
    return Reading(tokens[value], roles, properties | {"answer_tokens": stop - first})


def read_in_context_bigrams(task, tokens, length, number):
    """What has always followed this trigger."""
    del number
    query = len(tokens) - 1
    assert FIRST <= tokens[-1] < FIRST + task.triggers
    places = {at for at in range(1, query) if tokens[at] == tokens[-1]}
    answers = {tokens[at + 1] for at in places}
    assert len(answers) == 1
    key = max(places)
    roles = {"bos": 0, "key": key, "value": key + 1, "query": query} | after(key + 1, key, query)
    properties = {"length": length, "distance": query - key, "occurrences": len(places)}
    repeated = {"key": places, "value": {at + 1 for at in places}}
    return Reading(answers.pop(), roles, properties, repeated)


def read_treecall(task, tokens, length, number):
    """The parent of the last such terminal, in a grammar whose yields parse in one way.

    Every expansion has two symbols and then its head, and heads are no leaves: postfix notation.
    """
    del number
    divider, query = tokens.index(EOS), len(tokens) - 1
    first_head = FIRST + task.terminals // 2
    stack, parent = [], {}
    for at in range(1, divider):
        if tokens[at] >= first_head:
            parent |= dict.fromkeys((stack.pop(), stack.pop()), at)
        stack.append(at)
    assert len(stack) == 1
    key = max(at for at in range(1, divider) if tokens[at] == tokens[-1])
    value = parent[key]
    roles = {"bos": 0, "key": key, "value": value, "divider": divider}
    roles |= {"query": query, "answer": query + 1} | after(value, key, divider)
    return Reading(tokens[value], roles, {"length": length, "distance": query - key})


def read_documents(task, tokens, length, number):
    """Pairs, and one of their keys again."""
    del task, number
    query = len(tokens) - 1
    key = tokens.index(tokens[-1])
    roles = {"bos": 0, "key": key, "value": key + 1, "query": query, "answer": ABSENT}
    roles |= after(key + 1, key, query)
    return Reading(tokens[key + 1], roles, {"length": length, "distance": query - key})


FOLDER = pathlib.Path(__file__).parent
OWN = Documents(str(FOLDER / "id_documents.jsonl"), tokenizer="ids", test=0.4)
"""Pairs of the ids 10 to 15 and 20 to 24."""

SYMBOLS = {OWN.name_of(token): token for token in range(OWN.vocabulary_size)}

CASES = {
    **memory_cases.CASES,
    "associative_recall": Case(
        AssociativeRecall(pairs=4, min_pairs=2, key_vocabulary=6, value_vocabulary=7, queries=2),
        read_recall,
        {"key": range(3, 9), "value": range(9, 16)},
        range(9, 16),
    ),
    "multi_query_recall": Case(
        MultiQueryRecall(vocabulary=26, lengths=(24, 16), pairs=(3, 2), num_passes=2, power=0.5),
        read_multi_query,
        {"key": range(1, 13), "value": range(13, 26)},
        range(13, 26),
    ),
    "selective_copying": Case(
        SelectiveCopying(copied=3, noise=5, vocabulary=4, noise_vocabulary=2),
        read_selective_copying,
        {"value": range(3, 7)},
        range(3, 7),
    ),
    "induction_heads": Case(
        InductionHeads(length=7, vocabulary=4),
        read_induction_heads,
        {"key": range(4, 8), "value": range(4, 8)},
        range(4, 8),
    ),
    "noisy_recall": Case(
        NoisyRecall(pairs=3, noise=4, key_vocabulary=5, value_vocabulary=4, noise_vocabulary=2),
        read_recall,
        {"key": range(3, 8), "value": range(8, 12)},
        range(8, 12),
    ),
    "fuzzy_recall": Case(
        FuzzyRecall(pairs=3, key_tokens=2, value_tokens=2, key_vocabulary=4, value_vocabulary=3),
        read_fuzzy_recall,
        {"key": range(3, 7), "value": range(7, 10)},
        range(7, 10),
    ),
    "in_context_bigrams": Case(
        InContextBigrams(length=12, triggers=3, vocabulary=5),
        read_in_context_bigrams,
        {"key": range(3, 6), "value": range(6, 11)},
        range(6, 11),
    ),
    "treecall": Case(
        Treecall(
            grammar_file=str(FOLDER / "binary_grammar.json"), terminals=8, shortest=5, longest=30
        ),
        read_treecall,
        {"key": range(3, 11), "value": range(3, 11)},
        range(3, 11),
    ),
    "documents": Case(
        OWN,
        read_documents,
        {
            "key": [SYMBOLS[str(name)] for name in range(10, 16)],
            "value": [SYMBOLS[str(name)] for name in range(20, 25)],
        },
        [SYMBOLS[str(name)] for name in range(20, 25)],
    ),
}
"""By the name in `tasks.TASKS`; a new task is one entry more."""
