"""More models whose mechanism is known: pairs held where a rule could miss them.

`wide` adds mechanisms of attention to one model: pairs bound early or late, at the value or at the
next token, retrieved in one layer or in several. `shift` is an RWKV-4 whose token shift forms the
pair, `reversed_induction` an induction in which the value stands before the key.
"""

import numpy as np

from mecheval_jax.ground_truth.planted import (
    ANSWER,
    SHARP,
    TASK,
    Planted,
    Wide,
    as_arrays,
    attend_twice,
    blank,
    directions,
)
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.base import EOS
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from tests.support.planted import task_with

REVERSE = task_with(reverse=True)


class Wider(Wide):
    """`Wide` with further mechanisms; every number of a pair counts from 0."""

    def store(self, layer: int, pairs, behind: int = 1) -> None:
        """Copy key and value of `pairs` so many tokens behind the value."""
        at = {pair: 2 * pair + 2 + behind for pair in pairs}
        keys = [(place, 2 * pair + 1) for pair, place in at.items()]
        values = [(place, 2 * pair + 2) for pair, place in at.items()]
        self._at_places(layer, 2 * self.task.pairs, keys, (self.keys, self.previous))
        stored = self.slots[1][: len(self.values)]
        self._at_places(layer, 2 * self.task.pairs + 1, values, (self.values, stored))

    def look_upstored(self, layer: int) -> None:
        """Attend from a key to the token that stores it, and copy the value stored there."""
        long = [np.sqrt(self.WIDTH / 2), np.sqrt(self.WIDTH / 4)]
        stored = self.slots[1][: len(self.values)]
        answers = self.previous + self.place[0][None] / 2
        self._head(layer, 1, (self.keys, answers), (stored, ANSWER * self.values), long)

    def point(self, layer: int) -> None:
        """Fetch all keys to the query, and write there the place of the pair whose key it is."""
        pairs, block = range(self.task.pairs), self.params[f"block_{layer}"]
        for pair in pairs:
            slot = self.slots[2 * pair][: len(self.keys)]
            self._at_places(layer, 2 * pair, [(self.query, 2 * pair + 1)], (self.keys, slot))
        long = np.sqrt(self.WIDTH / (2 + len(pairs)))
        first, second = block["mlp"]["fc1"], block["mlp"]["fc2"]
        for unit, (pair, key) in enumerate(np.ndindex(len(pairs), self.task.key_vocabulary)):
            first["kernel"][:, unit] = (self.keys[key] + self.slots[2 * pair][key]) / long
            first["bias"][unit] = -1.5  # both agree
            second["kernel"][unit] = 2 * self.slots[1][pair]

    def follow(self, layer: int) -> None:
        """Attend to the value of the pair that is pointed to, and copy it."""
        pairs = range(self.task.pairs)
        long = [np.sqrt(self.WIDTH / (3 + len(pairs))), np.sqrt(self.WIDTH / 2)]
        asks, answers = self.slots[1][: len(pairs)], self.place[[2 * pair + 2 for pair in pairs]]
        self._head(layer, 0, (asks, answers), (self.values, ANSWER * self.values), long)

    def repair(self, layer: int) -> None:
        """Retrieve at the query whatever no earlier layer has answered."""
        self.compare(layer, range(self.task.pairs))
        # Any answer that is there already holds every unit down.
        self.params[f"block_{layer}"]["mlp"]["fc1"]["kernel"] -= self.values.sum(axis=0)[:, None]


def wide(seed: int, layers: int, task: AssociativeRecall = TASK, **mechanisms) -> Planted:
    """A Transformer with some mechanisms, each ``name=[(layer, pairs), ...]`` or ``[(layer,)]``."""
    model = Wider(seed, layers, task)
    for name, several in mechanisms.items():
        for arguments in several:
            getattr(model, name)(*arguments)
    return model.planted()


FIRST_HALF, SECOND_HALF, ALL_PAIRS = (range(2), range(2, 4), range(4))


def early(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Three layers: bound in layer 0, looked up in layer 1."""
    return wide(seed, 3, task, bind=[(0, ALL_PAIRS)], look_up=[(1,)])


def late(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Three layers: bound in layer 1, looked up in layer 2."""
    return wide(seed, 3, task, bind=[(1, ALL_PAIRS)], look_up=[(2,)])


def early_and_late(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Three layers: three quarters of the pairs bound in layer 0, one in 1; looked up in 2."""
    return wide(seed, 3, task, bind=[(0, range(3)), (1, range(3, 4))], look_up=[(2,)])


def split_storage(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Half of the pairs bound at the value, half at the token after it."""
    return stored(seed, task, FIRST_HALF, SECOND_HALF, behind=1)


def far_storage(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Half of the pairs bound at the value, half three tokens behind it."""
    return stored(seed, task, SECOND_HALF, FIRST_HALF, behind=3)


def stored(seed: int, task: AssociativeRecall, bound, far, behind: int) -> Planted:
    """Some pairs bound at the value, others so many tokens behind it."""
    model = Wider(seed, 2, task)
    model.store(0, far, behind)
    # One more head is free: the slots of the last pair are not used.
    places = [(2 * pair + 2, 2 * pair + 1) for pair in bound]
    model._at_places(0, 2 * task.pairs + 2, places, (model.keys, model.previous))
    model.look_up(1)
    model.look_upstored(1)
    return model.planted()


def over_two_layers(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Half of the pairs retrieved at the query in layer 0, half in layer 1."""
    return wide(seed, 2, task, compare=[(0, FIRST_HALF), (1, SECOND_HALF, 4)])


def pointer(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Layer 0 finds at the query which pair is asked, layer 1 fetches the value of that one."""
    return wide(seed, 2, task, point=[(0,)], follow=[(1,)])


def self_repair(seed: int, task: AssociativeRecall = TASK) -> Planted:
    """Three layers: induction, and a layer 2 that retrieves where there is no answer yet."""
    return wide(seed, 3, task, bind=[(0, ALL_PAIRS)], look_up=[(1,)], repair=[(2,)])


def reversed_induction(
    seed: int = 0, task: AssociativeRecall = REVERSE, divider: int = EOS
) -> Planted:
    """A Transformer whose answer stands before what is asked: layer 0 copies the token before.

    Layer 1 attends from the query to the same token earlier on, and copies what that one stores.

    Args:
        seed: of the directions.
        task: any whose query stands right behind a divider.
        divider: token that stands there.
    """

    def looked_up(identity: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The query itself matches as well; it stands after the divider, which holds it down.
        same = identity.T @ identity - previous[divider][:, None] @ identity.sum(axis=0)[None]
        return same, previous.T @ identity

    return attend_twice(seed, task, looked_up)


def shift(seed: int = 0, task: AssociativeRecall = TASK) -> Planted:
    """An RWKV-4 whose token shift forms the pair: a channel for each key and each value.

    Channel (k, v) averages "this token is v" over the tokens after k, and the current key opens
    its channels.
    """
    keys, values = task.classes["k"], task.classes["v"]
    width = len(keys) * len(values)
    config = ModelConfig(
        mixer="rwkv4",
        layers=2,
        width=width,
        vocabulary_size=task.vocabulary_size,
        max_length=task.max_length,
        feed_forward="none",
    )
    (identity,) = directions(seed, width, task.vocabulary_size)
    channels = np.random.default_rng(seed).permutation(width)
    of_key, of_value = np.divmod(channels, len(values))
    unit = np.sqrt(width)
    params = blank(config, identity)
    mixer = params["block_0"]["mixer"]
    mixer["mix_v"], mixer["mix_r"] = np.ones(width), np.ones(width)  # k reads the token before
    mixer["time_decay"] = np.full(width, -30.0)
    mixer["k_proj"]["kernel"] = SHARP / 2 * identity[keys.start + of_key].T / unit
    mixer["v_proj"]["kernel"] = identity[values.start + of_value].T / unit
    mixer["r_proj"]["kernel"] = (
        SHARP * (identity[keys.start + of_key].T - identity.sum(axis=0)[:, None] / 2) / unit
    )
    mixer["out_proj"]["kernel"] = ANSWER * identity[values.start + of_value]
    return config, as_arrays(params), task
