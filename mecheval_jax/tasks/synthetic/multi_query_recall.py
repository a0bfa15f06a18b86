"""Multi-query associative recall (MQAR), the task of Zoology (arXiv 2312.04927).

    k1 v1 k2 v2 ... kn vn   x x q x x q ...

The block of all pairs comes first, `num_passes` times in the same order. After it every key is
asked once, and the value is predicted at the key itself; the document does not contain the
answers. Key i is asked at c + 2 (g_i - 1), where c = 2 n `num_passes` is the length of the block
and g_1 .. g_n are drawn one after another without replacement from 1 .. (L - c) / 2 with

    p(g) proportional to g^(power - 1),

so that queries come soon after the block if `power` is small, and anywhere if it is 1. They are
drawn as the n largest of log p(g) + Gumbel noise, in order, which has this distribution. All other
positions after the block hold uniform tokens of the whole vocabulary, or 0.

Ids: pad 0, keys 1 .. V/2-1, values V/2 .. V-1. There is neither ``<bos>`` nor a divider.

Queries are numbered from a random pair on, so that query 0, which interventions and the verdict
look at, asks any of them. Roles of a query: ``key`` and ``value`` of its pair in the last pass,
``next_key`` and ``value+2`` after them, absent where they lie beyond the block, and ``query``. A
corruption replaces the token in every pass, since the other passes would still give the answer.
In a setting with fewer pairs than another, the missing queries have weight 0 and absent roles.

Chance is the accuracy of a uniform value. Guessing a value of the block gives 1/n; more is had by
where the query stands (``offset``), since the first pairs have the first choice of the places.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.fields import POSITIVE
from mecheval_jax.tasks.base import ABSENT, DERIVED, PAD, PAIR, Batch, following
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask


@dataclasses.dataclass(frozen=True)
class MultiQueryRecall(SyntheticTask):
    """The task; each document has one of the settings (length, pairs), drawn uniformly.

    Attributes:
        vocabulary: Number V of token ids, even.
        lengths: Number of tokens of a document in each setting, even.
        pairs: Number n of pairs in each setting.
        num_passes: Number of times that the block of pairs occurs.
        power: Exponent of the distribution of queries over positions, above 0.
        noise: Whether positions without a query hold random tokens, not 0.
        equal_documents: Whether the training loss is the mean over documents of the mean over
            their queries. Otherwise it is the mean over all queries, in which documents of few
            pairs, from which recall is learned first, hardly count beside those of many.
    """

    vocabulary: int = 8192
    lengths: tuple[int, ...] = (256,)
    pairs: tuple[int, ...] = (64,)
    num_passes: int = 1
    power: float = 0.01
    noise: bool = True
    equal_documents: bool = False

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        for name in ("lengths", "pairs"):
            for value in getattr(self, name):
                if type(value) is not int:
                    raise UserError(f"task.{name} has {value!r}: whole numbers")
        if not self.lengths or len(self.lengths) != len(self.pairs):
            raise UserError(
                f"task.lengths {self.lengths} and task.pairs {self.pairs}: "
                "one length for each number of pairs"
            )
        self.at_least(1, "num_passes")
        self.require(POSITIVE, "power")
        for length, pairs in zip(self.lengths, self.pairs, strict=True):
            if pairs < 1:
                raise UserError(f"task.pairs has {pairs}: at least 1")
            needed = 2 * pairs * (self.num_passes + 1)
            if length % 2 or length < needed:
                raise UserError(
                    f"task.lengths has {length}: an even number, at least {needed} "
                    f"for {pairs} pairs in {self.num_passes} passes"
                )
        most = max(self.pairs)
        least = 2 * (max(most, 2) + 1)  # id 0 is no key, and a corruption takes another key
        if self.vocabulary % 2 or self.vocabulary < least:
            raise UserError(
                f"task.vocabulary is {self.vocabulary}: an even number, at least {least} for "
                f"{most} pair{'s' * (most > 1)} of different keys"
            )

    @property
    def classes(self) -> dict[str, range]:
        """Ids of keys and values, half of the vocabulary each."""
        half = self.vocabulary // 2
        return {"k": range(PAD + 1, half), "v": range(half, self.vocabulary)}

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return (*PAIR, *DERIVED, "query")

    @property
    def max_length(self) -> int:
        """Length in tokens of the longest documents."""
        return max(self.lengths)

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the last possible query, all but one."""
        return self.max_length - 1

    @property
    def usual_length(self) -> int:
        """The number of tokens that are read of documents of the median length."""
        return int(np.median(self.lengths)) - 1

    def _distances(self, key: Key, slots: Int[Array, ""]) -> Int[Array, " queries"]:
        """Distances g - 1 of the queries, of which those below `slots` come first."""
        most = max(
            length // 2 - pairs * self.num_passes
            for length, pairs in zip(self.lengths, self.pairs, strict=True)
        )
        place = jnp.arange(most)
        score = (self.power - 1) * jnp.log1p(place) + jax.random.gumbel(key, (most,))
        return jax.lax.top_k(jnp.where(place < slots, score, -jnp.inf), max(self.pairs))[1]

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        which, draw_keys, draw_values, order, fill, first = jax.random.split(key, 6)
        setting = jax.random.randint(which, (), 0, len(self.lengths))
        length = jnp.array(self.lengths, jnp.int32)[setting]
        pairs = jnp.array(self.pairs, jnp.int32)[setting]
        block = 2 * pairs * self.num_passes
        keys = self.distinct(draw_keys, "key", max(self.pairs))
        values = self.distinct(draw_values, "value", max(self.pairs))
        query = block + 2 * self._distances(order, (length - block) // 2)

        index = jnp.arange(self.max_length)
        pair = index // 2 % pairs
        if self.noise:
            rest = jax.random.randint(fill, index.shape, 0, self.vocabulary)
        else:
            rest = jnp.full_like(index, PAD)
        rest = jnp.where(index < length, rest, PAD)
        tokens = jnp.where(index < block, jnp.where(index % 2 == 0, keys[pair], values[pair]), rest)
        number = jnp.arange(max(self.pairs))
        asked = number < pairs
        nowhere = self.max_length
        tokens = tokens.at[jnp.where(asked, query, nowhere)].set(keys, mode="drop")

        # Number the queries from a random pair on.
        turned = (number + jax.random.randint(first, (), 0, pairs)) % pairs
        asks = jnp.where(asked, turned, number)
        item, query = block - 2 * pairs + 2 * asks, query[asks]
        roles = {"key": item, "value": item + 1, "query": query}
        roles |= following(item, item + 1, block)
        return Batch(
            tokens=tokens,
            query_positions=jnp.where(asked, query, 0),
            targets=jnp.where(asked, values[asks], PAD),
            weights=asked.astype(jnp.float32),
            roles={name: jnp.where(asked, at, ABSENT) for name, at in roles.items()},
            lengths=length,
        )

    def corrupted_places(self, batch: Batch, role: str) -> Bool[Array, "batch length"]:
        """A mask of the tokens at the role in every pass over the pairs.

        Keys are distinct, and values are, so that a pass has the token in one place, an even number
        of tokens before that of the last pass.
        """
        at = batch.roles[role][:, :1]
        back = at - jnp.arange(batch.tokens.shape[1])[None]
        token = jnp.take_along_axis(batch.tokens, jnp.maximum(at, 0), axis=1)
        return (back >= 0) & (back % 2 == 0) & (batch.tokens == token)

    def loss_weights(self, batch: Batch) -> Float[Array, "batch queries"]:
        """Those of the batch, divided by their number in each document if `equal_documents`."""
        if not self.equal_documents:
            return batch.weights
        return batch.weights / batch.weights.sum(axis=1, keepdims=True)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, and ``offset``: the pair that is asked most often there."""
        batch = self.judged(key, documents, split, first)
        train = self.fitted(key, documents, first)
        floors = recall_floors(train, batch, self.class_of("value"))
        return with_best(floors | {"offset": self._offset(train, batch)})

    def _offset(self, train: Batch, batch: Batch) -> float:
        """Accuracy of the pair that train documents ask most at the place of the query."""
        # Numbers of pairs are few, and are counted by their order.
        numbers = np.unique(self.pairs)

        def described(batch: Batch) -> tuple[np.ndarray, ...]:
            """Rank of the number of pairs, place and asked pair of every query that counts."""
            # Counted by their keys: where query 0 alone is judged the others have no weight.
            pairs = np.asarray(_pairs_of(batch))
            asked = np.asarray(batch.roles["key"]) // 2 % pairs
            counts = np.asarray(batch.weights) > 0
            every = (np.searchsorted(numbers, pairs), np.asarray(batch.query_positions), asked)
            return tuple(np.broadcast_to(one, counts.shape)[counts] for one in every)

        times = np.zeros((len(numbers), self.max_length, max(self.pairs)), np.int32)
        np.add.at(times, described(train), 1)
        pairs, places, asked = described(batch)
        return float((times.argmax(axis=-1)[pairs, places] == asked).mean())

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and number of pairs."""
        pairs = _pairs_of(batch)
        return super().properties(batch) | {"pairs": jnp.broadcast_to(pairs, batch.targets.shape)}


def _pairs_of(batch: Batch) -> Int[Array, "batch 1"]:
    """Number of pairs of each document, every one of which is asked; weights may leave some out."""
    return (batch.roles["key"] >= 0).sum(axis=1, keepdims=True)
