"""Which batch a step sees, and the shuffle that follows one number alone."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.training.replay import ROUNDS, Replay, shuffled

KEY = jax.random.key(5)


@functools.partial(jax.jit, static_argnums=1)
def order_of(key, count):
    """The whole order."""
    return jax.vmap(lambda place: shuffled(key, place, count))(jnp.arange(count))


# Catches numbers that come twice, and counts that are no power of two.
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 3126])
def test_every_number_comes_once(count):
    order = np.asarray(order_of(KEY, count))
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count > 7:
        assert np.mean(order == np.arange(count)) < 0.05
        # Neighbours go apart: the mean distance of two random numbers is a third of the count.
        np.testing.assert_allclose(np.abs(np.diff(order)).mean() / count, 1 / 3, atol=0.1)


# Catches a shuffle other than that of the paper: whole hands of cards, round by round.
def test_it_is_the_swap_or_not_shuffle():
    count = 11
    cards = np.arange(count)
    sums = np.asarray(jax.random.randint(KEY, (ROUNDS,), 0, count))
    for i in range(ROUNDS):
        of_round = jax.random.fold_in(KEY, i)
        for place in range(count):
            other = (sums[i] - cards[place]) % count
            bits = jax.random.bits(jax.random.fold_in(of_round, max(cards[place], other)))
            if int(bits) % 2:
                cards[place] = other
    np.testing.assert_array_equal(order_of(KEY, count), cards)


# Catches orders of which some are more likely than others.
def test_all_orders_are_as_likely():
    keys = jax.random.split(KEY, 6000)
    orders = np.asarray(jax.vmap(lambda key: order_of(key, 3))(keys))
    counts = collections.Counter(map(tuple, orders.tolist()))
    assert len(counts) == 6
    squares = sum((found - 1000) ** 2 / 1000 for found in counts.values())
    assert squares < 20.5  # chi squared, 5 degrees of freedom: one in a thousand


# Catches documents that are seen again in an endless stream, or a fixed set of another size.
def test_without_shuffle():
    assert [Replay().batch(KEY, step) for step in (0, 7, 400)] == [0, 7, 400]
    assert [Replay(3).batch(KEY, step) for step in range(7)] == [0, 1, 2, 0, 1, 2, 0]


# Catches an order that is the same each time, or for every seed, and one that depends on the past.
def test_each_time_has_its_own_order():
    def epochs(key):
        steps = jnp.arange(3 * 20)
        numbers = jax.vmap(lambda step: Replay(20, shuffle=True).batch(key, step))(steps)
        return np.asarray(numbers).reshape(3, 20)

    orders = np.concatenate([epochs(KEY), epochs(jax.random.key(6))])
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(20), (6, 1)))
    assert len({tuple(order) for order in orders.tolist()}) == 6
    assert int(Replay(20, shuffle=True).batch(KEY, 33)) == orders[1, 13]
