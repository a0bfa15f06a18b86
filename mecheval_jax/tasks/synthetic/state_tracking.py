"""State tracking: the product of a word in a group (Merrill et al. 2024, arXiv 2404.08819).

    <bos> g3 g1 g5 g1        s2 after the first token, ..., the product of all four at the last

Each token is an element of a group of permutations, and the answer at a token is the product of
all up to it, a token of another class. Nothing is looked up: the task asks whether a mixer can
carry a state on. Parity is a product of signs, which a decay of -1 computes. Words in S3, which is
solvable, need a state whose transition depends on the token and does not commute; words in A5,
which is not, are beyond one layer of any diagonal transition, however wide.

Elements are numbered in lexicographic order of their permutations, the identity first. The product
of s and g is first s, then g.

Ids: pad 0, bos 1, eos 2 (not used), then elements ``g``, states ``s``.

Query 0 is at the last token, the others at the tokens before it, backwards. Roles: ``bos``,
``factor`` (half way to the query; another element there always changes the answer) and ``query``.
There is no key.

Chance is the accuracy of a uniform state.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import choose
from mecheval_jax.tasks.base import BOS, Batch
from mecheval_jax.tasks.floors import majority, with_best
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask, consecutive

GROUPS = {"parity": (2, False), "S3": (3, False), "A5": (5, True)}
"""Points that the permutations of each group permute, and whether only even ones are in it."""


@functools.cache
def multiplication_table(group: str) -> Int[np.ndarray, "elements elements"]:
    """Number of the product of two elements, first that of the row, then that of the column.

    Args:
        group: Name in `GROUPS`.
    """
    points, even = GROUPS[group]
    elements = [
        p
        for p in itertools.permutations(range(points))
        if not even or sum(a > b for a, b in itertools.combinations(p, 2)) % 2 == 0
    ]
    number = {p: i for i, p in enumerate(elements)}
    return np.array([[number[tuple(g[x] for x in s)] for g in elements] for s in elements])


@dataclasses.dataclass(frozen=True)
class StateTracking(SyntheticTask):
    """The task.

    Attributes:
        group: ``parity``, ``S3`` or ``A5``.
        length: Number of factors of a word.
        every_prefix: Whether the product is asked at every token, not at the last alone.
    """

    group: str = "S3"
    length: int = 16
    every_prefix: bool = True

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        choose("group", self.group, GROUPS)
        self.at_least(1, "length")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of elements and states."""
        size = len(multiplication_table(self.group))
        return consecutive(g=size, s=size)

    def class_of(self, role: str) -> range:
        """Ids of elements; of states for answers."""
        return self.classes["g" if role == "factor" else "s"]

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return ("bos", "factor", "query")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return ("factor",)

    @property
    def max_length(self) -> int:
        """Length in tokens of every document."""
        return 1 + self.length

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        table = jnp.asarray(multiplication_table(self.group), jnp.int32)
        word = jax.random.randint(key, (self.length,), 0, len(table))

        def multiply(state: Array, element: Array) -> tuple[Array, Array]:
            state = table[state, element]
            return state, state

        products = jax.lax.scan(multiply, jnp.zeros((), jnp.int32), word)[1]
        query = self.length - jnp.arange(self.length if self.every_prefix else 1)
        elements, states = self.classes["g"].start, self.classes["s"].start
        return Batch(
            tokens=jnp.concatenate([jnp.array([BOS]), elements + word]),
            query_positions=query,
            targets=states + products[query - 1],
            weights=jnp.ones(len(query)),
            roles={"bos": jnp.zeros_like(query), "factor": (query + 1) // 2, "query": query},
            lengths=jnp.asarray(self.max_length),
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Of a uniform state, the commonest in training, and the last factor (``copy_query``)."""
        batch = self.judged(key, documents, split, first)
        states = self.classes["s"]
        last = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)
        copied = last - self.classes["g"].start + states.start == batch.targets
        weights = np.asarray(batch.weights)
        floors = {
            "uniform": 1 / len(states),
            "majority": majority(self.fitted(key, documents, first), batch),
            "copy_query": float(np.average(copied, weights=weights)),
        }
        return with_best(floors)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, and number of factors up to the query."""
        return super().properties(batch) | {"factors": batch.query_positions}
