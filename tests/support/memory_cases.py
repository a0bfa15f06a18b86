"""Small instances of the tasks that tell memories apart, and plain readers of their documents.

As in `task_cases`, which takes them in, ids are counted again from each module's text.
"""

import itertools

import numpy as np

from mecheval_jax.tasks.synthetic.compression import Compression
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from mecheval_jax.tasks.synthetic.hop_recall import HopRecall
from mecheval_jax.tasks.synthetic.memorization import Memorization
from mecheval_jax.tasks.synthetic.stacked_recall import StackedRecall
from mecheval_jax.tasks.synthetic.state_tracking import StateTracking
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall, JointRecall
from tests.support.reading import ABSENT, EOS, FIRST, Case, Reading, after


def behind(tokens, key, value, question=1):
    """The roles of a pair that is asked behind a divider, and the distance to it."""
    divider, query = tokens.index(EOS), len(tokens) - 1
    assert (query - divider) % question == 0
    roles = {"bos": 0, "key": key, "value": value, "divider": divider, "query": query}
    return roles | after(value, key, divider), {"distance": query - key}


def read_forgetting(task, tokens, length, number):
    """The value behind the last occurrence of the key, and the one behind the first."""
    divider = tokens.index(EOS)
    assert len(set(tokens[1:divider:2])) == task.pairs
    places = [at for at in range(1, divider, 2) if tokens[at] == tokens[-1]]
    assert len(places) == 2 or number > 0
    roles, properties = behind(tokens, places[-1], places[-1] + 1)
    old = places[0] if len(places) == 2 else ABSENT
    roles |= {"old_key": old, "old_value": ABSENT if old == ABSENT else old + 1}
    properties |= {"length": length, "rebound": len(places) - 1}
    return Reading(tokens[places[-1] + 1], roles, properties)


def read_two_tokens(task, tokens, length, number):
    """The value behind the asked key in the asked context, the last context token before it."""
    assert tokens.index(EOS) + 2 * (number + 1) == len(tokens) - 1
    first_key, found, context = FIRST + task.context_vocabulary, [], None
    for at in range(1, tokens.index(EOS)):
        if tokens[at] < first_key:
            context = at
        elif tokens[at] < first_key + task.key_vocabulary:
            found.append((tokens[context], tokens[at], context, at))
    assert (
        len({(c, k) for c, k, _, _ in found}) == len(found) == task.contexts * task.keys_per_context
    )
    ((context, key),) = (places for c, k, *places in found if [c, k] == tokens[-2:])
    roles, properties = behind(tokens, key, key + 1, question=2)
    return Reading(tokens[key + 1], roles | {"context": context}, properties | {"length": length})


def read_stacked(task, tokens, length, number):
    """The value half of the pair whose key half is asked."""
    del number
    first_key = FIRST + task.key_vocabulary * task.value_vocabulary
    pairs = [divmod(t - FIRST, task.value_vocabulary) for t in tokens[1 : tokens.index(EOS)]]
    ((at, value),) = ((i, v) for i, (k, v) in enumerate(pairs) if first_key + k == tokens[-1])
    roles, properties = behind(tokens, at + 1, at + 1)
    answer = first_key + task.key_vocabulary + value
    return Reading(answer, roles, properties | {"length": length})


def count_stacked_floors(case, batch):
    """The floors, of the values of pairs."""
    task = case.task
    values = (batch.tokens[:, 1 : 1 + task.pairs] - FIRST) % task.value_vocabulary
    asked = batch.targets - case.answers[0]
    right = values[:, None] == asked[..., None]
    floors = {
        "uniform": 1 / task.value_vocabulary,
        "in_document": right.mean(),
        "first": right[..., 0].mean(),
        "last": right[..., -1].mean(),
        "majority": np.bincount(asked.ravel()).max() / asked.size,
    }
    return floors | {"best": max(floors.values())}


def read_hops(task, tokens, length, number):
    """Where one comes from the asked token, a pair at a time."""
    del number
    divider = tokens.index(EOS)
    keys = tokens[1:divider:2]
    assert sorted(keys) == sorted(tokens[2:divider:2])
    assert len(set(keys)) == task.pairs
    here, places = tokens[-1], []
    for _ in range(task.hops):
        places.append(1 + 2 * keys.index(here))
        here = tokens[places[-1] + 1]
    roles, properties = behind(tokens, places[-1], places[-1] + 1)
    roles |= {"first_key": places[0], "first_value": places[0] + 1}
    properties |= {"length": length, "forward": int(places == sorted(places))}
    return Reading(here, roles, properties)


THREE = list(itertools.permutations(range(3)))
"""Elements of S3 in lexicographic order."""


def read_state(task, tokens, length, number):
    """Three things that are permuted by one token after the other."""
    assert len(tokens) == task.length + 1 - number
    things = (0, 1, 2)
    for token in tokens[1:]:
        permutation = THREE[token - FIRST]
        things = tuple(permutation[x] for x in things)
    roles = {"bos": 0, "factor": len(tokens) // 2, "query": len(tokens) - 1}
    properties = {"length": length, "factors": len(tokens) - 1}
    return Reading(FIRST + 6 + THREE.index(things), roles, properties)


def count_state_floors(case, batch):
    """Of a uniform state, the commonest one, and the last factor as if it were the first."""
    del case
    last = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)
    floors = {
        "uniform": 1 / 6,
        "majority": np.bincount(batch.targets.ravel()).max() / batch.targets.size,
        "copy_query": (last + 6 == batch.targets).mean(),
    }
    return floors | {"best": max(floors.values())}


def read_compression(task, tokens, length, number):
    """The token at the place that the marker names."""
    del number
    divider, query = tokens.index(EOS), len(tokens) - 1
    place = tokens[-1] - FIRST - task.vocabulary
    roles = {"bos": 0, "value": 1 + place, "divider": divider, "query": query}
    properties = {"length": length, "distance": query - 1 - place, "place": place}
    return Reading(tokens[1 + place], roles, properties)


def read_memorization(task, tokens, length, number):
    """What the table says, which a draw with the same seed gives."""
    first_value = FIRST + task.key_vocabulary + 1
    table = np.random.default_rng(task.seed).integers(
        first_value, first_value + task.value_vocabulary, task.key_vocabulary
    )
    query = len(tokens) - 1
    assert query == 2 * number + 2
    assert tokens[-1] == first_value - 1
    roles = {"bos": 0, "key": query - 1, "query": query}
    return Reading(int(table[tokens[-2] - FIRST]), roles, {"length": length, "distance": 1})


def count_memorization_floors(case, batch):
    """Of a uniform value, and the commonest one."""
    majority = np.bincount(batch.targets.ravel()).max() / batch.targets.size
    uniform = 1 / len(case.answers)
    return {"uniform": uniform, "majority": majority, "best": max(uniform, majority)}


TWO_TOKENS = {"contexts": 2, "keys_per_context": 3, "queries": 2, "context_vocabulary": 3}
TWO_TOKENS |= {"key_vocabulary": 4, "value_vocabulary": 7}
TWO_TOKEN_CLASSES = {"context": range(3, 6), "key": range(6, 10), "value": range(10, 17)}

CASES = {
    "forgetting_recall": Case(
        ForgettingRecall(pairs=3, rebound=2, queries=2, key_vocabulary=4, value_vocabulary=6),
        read_forgetting,
        {"key": range(3, 7), "value": range(7, 13), "old_value": range(7, 13)},
        range(7, 13),
    ),
    "compositional_recall": Case(
        CompositionalRecall(**TWO_TOKENS), read_two_tokens, TWO_TOKEN_CLASSES, range(10, 17)
    ),
    "joint_recall": Case(
        JointRecall(**TWO_TOKENS), read_two_tokens, TWO_TOKEN_CLASSES, range(10, 17)
    ),
    "stacked_recall": Case(
        StackedRecall(pairs=3, queries=2, key_vocabulary=4, value_vocabulary=3),
        read_stacked,
        {"key": range(3, 15), "value": range(3, 15)},
        range(19, 22),
        count_stacked_floors,
    ),
    "hop_recall": Case(
        HopRecall(pairs=4, hops=2, queries=2, vocabulary=6),
        read_hops,
        {"key": range(3, 9), "value": range(3, 9)},
        range(3, 9),
    ),
    "state_tracking": Case(
        StateTracking(group="S3", length=4),
        read_state,
        {"factor": range(3, 9)},
        range(9, 15),
        count_state_floors,
    ),
    "compression": Case(
        Compression(length=5, queries=2, vocabulary=4),
        read_compression,
        {"value": range(3, 7)},
        range(3, 7),
    ),
    "memorization": Case(
        Memorization(queries=3, key_vocabulary=5, value_vocabulary=4),
        read_memorization,
        {"key": range(3, 8)},
        range(9, 13),
        count_memorization_floors,
    ),
}
"""By the name in `tasks.TASKS`."""
