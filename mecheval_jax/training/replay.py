"""Which batch each step of a run sees: fresh ones, or a fixed set over and over."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int, Key
from mecheval_jax.tasks.base import SPLITS

ROUNDS = 64
"""Rounds of a shuffle, four or more for every bit of the numbers of up to 65,536 batches."""


@dataclasses.dataclass(frozen=True)
class Replay:
    """The fixed set of a run, and the order in which its batches come.

    Attributes:
        batches: Number of batches of the set; None for fresh documents at every step.
        shuffle: Whether they come in another order each time that the set is seen. The documents
            of a batch stay together.
    """

    batches: int | None = None
    shuffle: bool = False

    def batch(self, key: Key, step: Int[Array, ""] | int) -> Int[Array, ""] | int:
        """The number of a step's batch, a pure function of the key of the documents and the step.

        Args:
            key: Key of the run's documents, that of all splits.
            step: Number of the step.
        """
        if self.batches is None:
            return step
        place = step % self.batches
        if not self.shuffle:
            return place
        # Orders have a stream of their own, behind those of the splits.
        orders = jax.random.fold_in(key, len(SPLITS))
        return shuffled(jax.random.fold_in(orders, step // self.batches), place, self.batches)

    @functools.partial(jax.jit, static_argnums=0)
    def order(self, key: Key, epoch: Int[Array, ""] | int) -> Int[Array, " batches"]:
        """The numbers of all batches of the fixed set, as they come when it is seen once more.

        Args:
            key: Key of the run's documents.
            epoch: How often it was seen before.
        """
        places = jnp.arange(self.batches)
        return jax.vmap(functools.partial(self.batch, key))(epoch * len(places) + places)


def shuffled(key: Key, place: Int[Array, ""] | int, count: int) -> Int[Array, ""]:
    """What comes at a place when the numbers from 0 to count - 1 are shuffled.

    The swap-or-not shuffle (Hoang, Morris and Rogaway, "An enciphering scheme based on a card
    shuffle", 2012): each round pairs the numbers by their sum modulo `count`, and swaps a pair or
    not as a random bit of it says. So one number can be followed alone, and a step need not sort
    the whole set.

    Args:
        key: Key of the order.
        place: Place in the order, from 0 to count - 1.
        count: Number of numbers.
    """
    sums = jax.random.randint(key, (ROUNDS,), 0, count)

    def swap(pair: Int[Array, ""], i: Int[Array, ""]) -> Bool[Array, ""]:
        bits = jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, i), pair))
        return bits % 2 == 1

    def after(i: Int[Array, ""], number: Int[Array, ""]) -> Int[Array, ""]:
        other = (sums[i] - number) % count
        return jnp.where(swap(jnp.maximum(number, other), i), other, number)

    return jax.lax.fori_loop(0, ROUNDS, after, jnp.asarray(place, sums.dtype))
