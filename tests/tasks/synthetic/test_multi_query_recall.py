"""Multi-query recall: where queries stand, what is drawn how often, and settings that cannot be."""

import functools
import itertools

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from tests.support.outcomes import in_numpy, is_drawn_from

DOCUMENTS = 6000
ONE = MultiQueryRecall(vocabulary=14, lengths=(12,), pairs=(2,), power=0.5)
"""2 pairs, then 4 places for the queries: tokens 4, 6, 8, 10; keys 1-6, values 7-13."""

MIXED = MultiQueryRecall(
    vocabulary=20, lengths=(18, 10), pairs=(2, 1), num_passes=2, power=1.0, noise=False
)
"""Blocks of 8 and 4 tokens, then 5 and 3 places."""


@functools.cache
def drawn(task):
    """Many documents."""
    return in_numpy(jax.jit(lambda key: task.sample(key, DOCUMENTS))(jax.random.key(0)))


def successive(power, places, number):
    """Probabilities of draws one after another, without replacement, p(g) ~ g^(power - 1)."""
    weight = {g: g ** (power - 1) for g in range(1, places + 1)}
    found = {}
    for order in itertools.permutations(weight, number):
        left, found[order] = dict(weight), 1.0
        for g in order:
            found[order] *= left[g] / sum(left.values())
            del left[g]
    return found


def places_by_pair(batch, pairs):
    """Places of the queries of the first pair, the second, ..."""
    order = np.argsort(batch.roles["key"][:, :pairs], axis=1)
    return np.take_along_axis(batch.query_positions[:, :pairs], order, axis=1)


# Catches draws with replacement, another exponent, distances in another order than the pairs, and
# weights that are drawn all at once (the first and the second draw then look alike).
def test_places_of_the_queries():
    places = ((places_by_pair(drawn(ONE), 2) - 4) // 2 + 1).tolist()
    assert is_drawn_from(successive(0.5, 4, 2), [tuple(row) for row in places])


# Catches a power that is not used: with 1 all places are as likely.
def test_power_1_is_uniform():
    batch = drawn(MIXED)
    long = batch.lengths == 18
    places = [tuple(row) for row in ((places_by_pair(batch, 2)[long] - 8) // 2 + 1).tolist()]
    uniform = dict.fromkeys(itertools.permutations(range(1, 6), 2), 1.0)
    assert is_drawn_from(uniform, places)


# Catches keys or values that repeat, that are of the other class, or that some pairs never are.
def test_pairs_are_uniform():
    tokens = drawn(ONE).tokens
    keys = dict.fromkeys(itertools.permutations(range(1, 7), 2), 1.0)
    values = dict.fromkeys(itertools.permutations(range(7, 14), 2), 1.0)
    assert is_drawn_from(keys, list(zip(tokens[:, 0], tokens[:, 2], strict=True)))
    assert is_drawn_from(values, list(zip(tokens[:, 1], tokens[:, 3], strict=True)))


# Catches noise that leaves out a part of the vocabulary, and noise over a query.
def test_noise_is_uniform():
    batch = drawn(ONE)
    at = np.arange(4, 12)[None, :, None]
    free = ~(at == batch.query_positions[:, None]).any(axis=-1)
    noise = batch.tokens[:, 4:][free]
    assert len(noise) == DOCUMENTS * (8 - 2)
    assert is_drawn_from(dict.fromkeys(range(14), 1.0), noise.tolist())


# Catches noise that cannot be left out, an answer in the input, a query that is not its key.
def test_without_noise():
    batch = drawn(MIXED)
    for tokens, length, query, key, weights in zip(
        batch.tokens,
        batch.lengths,
        batch.query_positions,
        batch.roles["key"],
        batch.weights,
        strict=True,
    ):
        pairs = {18: 2, 10: 1}[length]
        expected = np.zeros(18, int)
        expected[: 4 * pairs] = np.tile(tokens[: 2 * pairs], 2)
        expected[query[:pairs]] = tokens[key[:pairs]]
        assert sorted(key[:pairs]) == list(range(2 * pairs, 4 * pairs, 2))
        np.testing.assert_array_equal(tokens, expected)
        np.testing.assert_array_equal(weights, [1, pairs > 1])


# Catches a query 0, of which the verdict speaks, that asks the first pair of every document: naming
# the first value is then always right, and no pair at another place could be a control.
def test_query_0_asks_any_pair():
    batch = drawn(MIXED)
    first = batch.roles["key"][batch.lengths == 18, 0]
    assert is_drawn_from({4: 0.5, 6: 0.5}, first.tolist())


# Catches a floor without what the place of a query tells: the first pair is asked early on.
def test_the_pair_asked_most_often_at_a_place():
    right, known = 0.0, successive(0.5, 4, 2)
    for place in range(1, 5):
        asked = [sum(p for order, p in known.items() if order[i] == place) for i in (0, 1)]
        right += max(asked) / 2
    floors = ONE.floors(jax.random.key(1))
    assert floors["best"] == floors["offset"] == pytest.approx(right, abs=0.02)
    assert right > 0.52 > floors["first"]


# Catches a mixture that prefers a setting, or that zips lengths and pairs wrongly.
def test_settings_are_uniform():
    batch = drawn(MIXED)
    settings = zip(batch.lengths.tolist(), batch.weights.sum(axis=1).tolist(), strict=True)
    assert is_drawn_from({(18, 2): 0.5, (10, 1): 0.5}, list(settings))


# Catches a size that is not SPEC's: keys 1 .. V/2-1, values V/2 .. V-1.
def test_sizes():
    task = MultiQueryRecall()
    assert (task.vocabulary_size, task.max_length, task.read_length) == (8192, 256, 255)
    assert (task.class_of("key"), task.class_of("value")) == (range(1, 4096), range(4096, 8192))
    assert [task.name_of(t) for t in (0, 1, 4095, 4096)] == ["<pad>", "k0", "k4094", "v0"]


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": (64, 128)}, r"task\.lengths \(64, 128\).*one length for each"),
        ({"lengths": (), "pairs": ()}, r"task\.lengths \(\)"),
        ({"num_passes": 0}, r"task\.num_passes is 0"),
        ({"power": 0.0}, r"task\.power is 0\.0"),
        ({"pairs": (0,)}, r"task\.pairs has 0"),
        ({"lengths": (255,), "pairs": (4,)}, r"task\.lengths has 255: an even number"),
        ({"lengths": (254,)}, r"task\.lengths has 254: .*at least 256 for 64 pairs in 1 passes"),
        ({"num_passes": 2}, r"task\.lengths has 256: .*at least 384"),
        ({"vocabulary": 128}, r"task\.vocabulary is 128: .*at least 130 for 64 pairs"),
        # Of one key a corruption would leave every document as it is.
        ({"vocabulary": 4, "lengths": (4,), "pairs": (1,)}, r"at least 6 for 1 pair of different"),
        ({"vocabulary": 8191}, r"task\.vocabulary is 8191: an even number"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        MultiQueryRecall(**options)
