"""Models whose mechanism is known, because their weights are set by hand.

Every model reads tokens from orthonormal directions e_t of the residual stream. The
directions are drawn with a seed and stand orthogonal to the vector of ones, so that the
norms change their length and nothing else. Where a softmax has to be peaked, scores are
scaled to `SHARP` against 0.

    induction           layer 0 copies the previous token's identity into directions of its
                        own, at every token; layer 1 attends from the query to the token
                        that stores it as its previous one, and copies that token.
    direct retrieval    in one layer, heads of the query's own copy every token of the document
                        into directions of its place, and the MLP at the query compares keys.
    convolution         the convolution of one Mamba layer sees earlier tokens beside the
                        current one; the scan writes value identities into the state entry
                        of their key, and reads the entry of the current key. It does so at the
                        value, or one token later.
    delta rule          likewise in a layer of DeltaNet, whose state erases what a key had.

Each function returns the shape of the model, its parameters and the task it solves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.models.language_model import ModelConfig, parameter_shapes
from mecheval_jax.site_path import block_name
from mecheval_jax.tasks.synthetic.associative_recall import FIRST_KEY, AssociativeRecall
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask

TASK = AssociativeRecall(pairs=4, key_vocabulary=8, value_vocabulary=8, fresh_replacement=True)
"""4 pairs of 8 keys and 8 values: 19 tokens of vocabulary, documents of 13 tokens."""

SHARP = 40.0
"""Attention score of the token that is meant, where all others have 0."""

ANSWER = 10.0
"""Length of the answer that is written, against 1 of an embedding."""

TEMPERATURE = 2.0
"""Scale of the last norm, which makes the answer's probability nearly 1."""

Rows = tuple[np.ndarray, np.ndarray]
"""Two lists of directions, row by row."""

Planted = tuple[ModelConfig, PyTree, SyntheticTask]
"""The shape of a model, its parameters, and the task it solves."""

PlantedAnywhere = tuple[ModelConfig, PyTree, Any]
"""The same, where any task of keys and values will do, a test's own or one of documents too."""


def induction(seed: int = 0, feed_forward: str = "none", task: AssociativeRecall = TASK) -> Planted:
    """A two-layer Transformer that binds in layer 0 and looks up in layer 1; see `attend_twice`."""

    def looked_up(identity: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return previous.T @ identity, identity.T @ identity

    return attend_twice(seed, task, looked_up, feed_forward)


def attend_twice(
    seed: int, task: Any, looked_up: Callable, feed_forward: str = "none"
) -> PlantedAnywhere:
    """A two-layer Transformer whose layer 0 copies the token before.

    Args:
        seed: Seed of the directions.
        task: Task of any number of tokens; the model is as wide as they need.
        looked_up: (directions of a token, of the token before) -> what the query is compared with
            in layer 1, and what it copies there.
        feed_forward: ``none``, or a kind whose weights are then all zero.
    """
    tokens, length = task.vocabulary_size, task.max_length
    width = 64 * -(-(2 * tokens + length + 1) // 64)
    config = ModelConfig(
        "attention", 2, width, tokens, length, positions="learned", feed_forward=feed_forward
    )
    identity, previous, place = directions(seed, width, tokens, tokens, length)
    after = np.roll(place, -1, axis=0)  # row i: the place after i
    # A layer's input is a sum of orthonormal directions; its norm makes each this long.
    long = [np.sqrt(width / count) for count in (2, 3)]
    sharpen = [np.sqrt(SHARP * np.sqrt(width)) / size for size in long]
    key, value = looked_up(identity, previous)
    layers = [
        {
            "q_proj": sharpen[0] * place.T @ place,
            "k_proj": sharpen[0] * place[:-1].T @ after[:-1],
            "v_proj": identity.T @ previous / long[0],
        },
        {
            "q_proj": sharpen[1] * identity.T @ identity,
            "k_proj": sharpen[1] * key,
            "v_proj": ANSWER * value / long[1],
        },
    ]
    params = blank(config, identity)
    params["position_embedding"]["embedding"] = place
    for layer, kernels in enumerate(layers):
        for name, kernel in (kernels | {"out_proj": np.eye(width)}).items():
            params[block_name(layer)]["mixer"][name]["kernel"] = kernel
    return config, as_arrays(params), task


def direct_retrieval(
    seed: int = 0, layers: int = 2, layer: int = 0, task: AssociativeRecall = TASK
) -> Planted:
    """A Transformer that retrieves at the query, in one layer; the others write nothing.

    Args:
        seed: Seed of the directions.
        layers: Depth.
        layer: The layer that retrieves; above 0 the retrieval is delayed.
        task: Task of 4 pairs and up to 8 keys and values.
    """
    model = Wide(seed, layers, task)
    model.compare(layer, range(task.pairs))
    return model.planted()


class Wide:
    """A Transformer of 16 heads of 8 channels, to which mechanisms are added.

    A head attends where it is told to, and to the first token, which it copies nothing of,
    everywhere else.
    """

    WIDTH, HEADS, SIZE = 128, 16, 8

    def __init__(self, seed: int, layers: int, task: AssociativeRecall):
        tokens, length = task.vocabulary_size, task.max_length
        self.task, self.query = task, 2 * task.pairs + 2
        self.hidden = task.pairs * task.key_vocabulary * task.value_vocabulary
        self.config = ModelConfig(
            mixer="attention",
            layers=layers,
            width=self.WIDTH,
            vocabulary_size=tokens,
            max_length=length,
            positions="learned",
            activation="relu",
            hidden=self.hidden,
            mixer_options={"heads": self.HEADS},
        )
        counts = (tokens, length, task.key_vocabulary, *(self.SIZE,) * (2 * task.pairs))
        identity, self.place, self.previous, *self.slots = directions(seed, self.WIDTH, *counts)
        self.keys = identity[FIRST_KEY : task.first_value]
        self.values = identity[task.classes["v"].start : task.classes["v"].stop]
        self.params = blank(self.config, identity)
        self.params["position_embedding"]["embedding"] = self.place

    def planted(self) -> Planted:
        """The model with all mechanisms that were added."""
        return self.config, as_arrays(self.params), self.task

    def _head(
        self, layer: int, head: int, scores: Rows, copies: Rows, long: Sequence[float]
    ) -> None:
        """Set the weights of one head.

        Args:
            layer: Index of the layer.
            head: Index of the head.
            scores: Directions that it asks for, and directions that answer each of them.
            copies: Directions that it reads where it looks, and what it writes for each of them.
            long: Lengths of the inputs of queries and of keys, for which scores are `SHARP`.
        """
        (asks, answers), (reads, writes) = scores, copies
        mixer = self.params[block_name(layer)]["mixer"]
        own = slice(head * self.SIZE, (head + 1) * self.SIZE)
        score = np.sqrt(SHARP * np.sqrt(self.SIZE))
        for name, rows, size in (("q", asks, long[0]), ("k", answers, long[1])):
            mixer[f"{name}_proj"]["kernel"][:, own][:, : len(rows)] = score * rows.T / size
        mixer["v_proj"]["kernel"][:, own][:, : len(reads)] = reads.T / long[1]
        mixer["out_proj"]["kernel"][own][: len(writes)] = writes

    def _at_places(
        self, layer: int, head: int, pairs: Sequence[tuple[int, int]], copies: Rows
    ) -> None:
        """Let a head look from one place to another, for `pairs` of places; see `_head`."""
        sources, targets = zip(*pairs, strict=True)
        everywhere, first = self.place.sum(axis=0), self.place[0] / 2
        asks = np.stack([*self.place[list(sources)], everywhere])
        answers = np.stack([*self.place[list(targets)], first])
        long = np.sqrt(self.WIDTH / 2)  # an identity and a place
        self._head(layer, head, (asks, answers), copies, (long, long))

    def compare(self, layer: int, pairs: Sequence[int], others: int = 0) -> None:
        """Retrieve `pairs` at the query: copy their tokens there, compare keys in the MLP.

        At the query may stand `others` more unit vectors, left by earlier layers.
        """
        task, block = self.task, self.params[block_name(layer)]
        for place in (2 * pair + part for pair in pairs for part in (0, 1)):
            reads = self.values if place % 2 else self.keys
            slot = self.slots[place][: len(reads)]
            self._at_places(layer, place, [(self.query, place + 1)], (reads, slot))
        long = np.sqrt(self.WIDTH / (2 + others + 2 * len(pairs)))
        combinations = np.ndindex(len(pairs), task.key_vocabulary, task.value_vocabulary)
        first, second = block["mlp"]["fc1"], block["mlp"]["fc2"]
        for unit, (number, key, value) in enumerate(combinations):
            place = 2 * pairs[number]
            agree = self.keys[key] + self.slots[place][key] + self.slots[place + 1][value]
            first["kernel"][:, unit] = agree / long
            first["bias"][unit] = -2.5  # three of three agree
            second["kernel"][unit] = 2 * ANSWER * self.values[value]

    def bind(self, layer: int, pairs: Sequence[int]) -> None:
        """Copy the key of `pairs` to their value token."""
        places = [(2 * pair + 2, 2 * pair + 1) for pair in pairs]
        self._at_places(layer, 2 * self.task.pairs, places, (self.keys, self.previous))

    def look_up(self, layer: int) -> None:
        """Attend from a key to the token that stores it, and copy that one's value."""
        long = [np.sqrt(self.WIDTH / count) for count in (2 + self.task.pairs, 3)]
        # Any key agrees by half with the first token.
        answers = self.previous + self.place[0][None] / 2
        copies = self.values, ANSWER * self.values
        self._head(layer, 0, (self.keys, answers), copies, long)


def convolution(
    seed: int = 0,
    layers: int = 2,
    layer: int = 0,
    d_conv: int = 2,
    later: int = 0,
    task: Any = TASK,
) -> PlantedAnywhere:
    """A Mamba whose convolution forms the pair, in one layer; the others write nothing.

    Args:
        seed: Seed of the directions, and of the order of state entries and channels.
        layers: Depth.
        layer: The layer that retrieves.
        d_conv: Number of taps of the convolution; the last two are used, and `later` more.
        later: Number of tokens after the value at which the pair is formed: 0, 1 for the next
            key.
        task: Task of up to 16 keys, whose classes fit the channels.
    """
    width, tokens = 32, task.vocabulary_size
    config = ModelConfig(
        mixer="mamba",
        layers=layers,
        width=width,
        vocabulary_size=tokens,
        max_length=task.max_length,
        mixer_options={"d_conv": d_conv},
    )
    (identity,) = directions(seed, width, tokens)
    keys, values = (identity[ids.start : ids.stop] for ids in (task.classes[n] for n in "kv"))
    draw = np.random.default_rng(seed)
    inner, state = 2 * width, 16
    sizes = (len(keys), len(keys), len(values))
    channels = draw.permutation(inner)
    of_previous, of_key, of_value, _ = np.split(channels, np.cumsum(sizes))
    entry = draw.permutation(state)[: len(keys)]

    # The norm makes an embedding sqrt(width) long; a present identity reads LARGE, where
    # silu returns its argument, and so does the gate z, whatever the token.
    large, unit = 20.0, np.sqrt(width)
    reads = np.zeros((width, 2 * inner))
    reads[:, of_previous] = reads[:, of_key] = large * keys.T / unit
    reads[:, of_value] = large * values.T / unit
    reads[:, inner:] = large * identity.sum(axis=0)[:, None] / unit
    taps = np.zeros((d_conv, inner))
    taps[-2 - later, of_previous] = 1
    taps[-1 - later, of_value] = 1
    taps[-1, of_key] = 1
    rank = width // 16
    selects = np.zeros((inner, rank + 2 * state))
    selects[of_previous, rank + entry] = selects[of_key, rank + state + entry] = 1 / large
    writes = np.zeros((inner, width))
    writes[of_value] = ANSWER * values / large**2

    params = blank(config, identity)
    mixer = params[block_name(layer)]["mixer"]
    mixer["in_proj"]["kernel"] = reads
    mixer["conv"]["weight"] = taps
    mixer["x_proj"]["kernel"] = selects
    mixer["dt_proj"]["bias"] = np.full(inner, np.log(np.e - 1))  # softplus: dt = 1
    mixer["A_log"] = np.full((inner, state), -30.0)  # no decay
    mixer["out_proj"]["kernel"] = writes
    return config, as_arrays(params), task


def delta_rule(seed: int = 0, beta: float = 0.5, task: Any = TASK) -> PlantedAnywhere:
    """One layer of DeltaNet, whose share beta says whether a key's old value is erased.

    A convolution of two taps gives a value token the key before it, so that the pair is written at
    the value. With beta near 1 a second write of a key takes the first one's place; with a small
    beta the state adds up writes of nearly the same size, and the later one is a little larger.

    Args:
        seed: Seed of the directions.
        beta: share of a write, above 0 and below 1.
        task: Task of any keys and values.
    """
    width = 32
    config = ModelConfig(
        mixer="delta_net",
        layers=1,
        width=width,
        vocabulary_size=task.vocabulary_size,
        max_length=task.max_length,
        feed_forward="none",
        mixer_options={"kernel": 2},
    )
    (identity,) = directions(seed, width, task.vocabulary_size)
    keys, values = (identity[ids.start : ids.stop] for ids in (task.classes[n] for n in "kv"))
    # The norm makes an embedding sqrt(width) long; an identity reads LARGE, where silu returns its
    # argument.
    large, unit = 20.0, np.sqrt(width)
    params = blank(config, identity)
    mixer = params[block_name(0)]["mixer"]
    for name, read, tap in (("q", keys, -1), ("k", keys, -2), ("v", values, -1)):
        mixer[f"{name}_proj"]["kernel"][:, : len(read)] = large * read.T / unit
        mixer[f"{name}_conv"]["weight"][tap] = 1
    share = np.log(beta / (1 - beta)) / unit
    mixer["b_proj"]["kernel"][:, 0] = share * values.sum(axis=0) - large * keys.sum(axis=0)
    mixer["o_proj"]["kernel"][: len(values)] = 3 * ANSWER * values / unit
    return config, as_arrays(params), task


def directions(seed: int, width: int, *counts: int) -> list[np.ndarray]:
    """Orthonormal rows in groups of `counts`, all orthogonal to the vector of ones."""
    total = sum(counts)
    noise = np.random.default_rng(seed).normal(size=(width, total))
    basis, _ = np.linalg.qr(np.concatenate([np.ones((width, 1)), noise], axis=1))
    return np.split(basis[:, 1:].T, np.cumsum(counts)[:-1])


def blank(config: ModelConfig, identity: np.ndarray) -> PyTree:
    """Parameters of a model that adds nothing to its embeddings."""

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        return np.full(leaf.shape, float(path[-1].key == "scale"))

    params = jax.tree_util.tree_map_with_path(fill, parameter_shapes(config))
    params["token_embedding"]["embedding"] = identity
    params["output_norm"]["scale"] *= TEMPERATURE
    return params


def as_arrays(params: PyTree) -> PyTree:
    """Parameters as float32 arrays of JAX."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
