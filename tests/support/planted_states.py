"""Models whose mechanism is known: one layer with a matrix for a state that binds pairs.

`kda_convolution` binds by its convolutions of keys and values, as Mamba does by its own.
`trapezoid` binds without any: Mamba-3 writes a token's key and value a second time at the token
after it, with a weight that this one chooses. A head for each value of the task, in which only the
value's token chooses a step, therefore holds the keys that stood before that value.
"""

import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.ground_truth.planted import ANSWER, TASK, Planted, as_arrays, blank, directions
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

LARGE = 20.0
"""Argument of silu, which returns it; of a sigmoid, that is then 1, or 0 with a minus."""

WIDTH = 32


def kda_convolution(seed: int = 0, task: AssociativeRecall = TASK) -> Planted:
    """Kimi Delta Attention whose keys are convolved to those of the token before."""
    config, params, keys, values, mixer = _one_layer("kda", seed, task, kernel=2)
    long = LARGE / np.sqrt(WIDTH)  # of what the norm makes as long as the root of the width
    mixer["q_proj"]["kernel"][:, : len(keys)] = long * keys.T
    mixer["k_proj"]["kernel"][:, : len(keys)] = long * keys.T
    mixer["v_proj"]["kernel"][:, : len(values)] = long * values.T
    for name, tap in (("q", 1), ("k", 0), ("v", 1)):  # the last tap is that of the token itself
        mixer[f"{name}_conv"]["weight"][tap] = 1
    mixer["b_proj"]["kernel"][:] = _in_all(params) * LARGE
    mixer["A_log"][:] = -30  # no decay
    mixer["gate_up"]["bias"][:] = LARGE
    # The norm of what a head reads makes one channel as long as the root of their number.
    mixer["o_proj"]["kernel"][: len(values)] = ANSWER * values / np.sqrt(WIDTH)
    return config, as_arrays(params), task


def trapezoid(seed: int = 0, task: AssociativeRecall = TASK, own: bool = False) -> Planted:
    """Mamba-3 whose heads hold the keys before one value each.

    Args:
        seed: of the directions.
        task: of values that divide the inner channels.
        own: whether a token writes itself and not the one before: there is no trapezoid then.
    """
    count, state = len(task.classes["v"]), 8
    options = {"head_dim": 2 * WIDTH // count, "d_state": state}
    config, params, keys, values, mixer = _one_layer("mamba3", seed, task, **options)
    inner, present = 2 * WIDTH, _in_all(params)
    sizes = (inner, inner, state, state, count, count, count, state // 4)
    names = ("z", "x", "B", "C", "step", "rate", "share", "turn")
    parts = np.split(mixer["in_proj"]["kernel"], np.cumsum(sizes)[:-1], axis=1)
    part = dict(zip(names, parts, strict=True))  # views of the kernel
    part["z"][:] = LARGE * present
    part["x"][:] = present
    part["B"][:, : len(keys)] = part["C"][:, : len(keys)] = keys.T
    part["step"][:] = (LARGE + 1) * values.T / np.sqrt(WIDTH)
    part["rate"][:] = -1000 * present  # no decay
    part["share"][:] = (LARGE if own else -LARGE) * present
    mixer["dt_bias"][:] = -LARGE
    channels = inner // count
    mixer["out_proj"]["kernel"][::channels] = ANSWER * values / LARGE / state
    return config, as_arrays(params), task


def _one_layer(
    mixer: str, seed: int, task: AssociativeRecall, **options: int
) -> tuple[ModelConfig, PyTree, np.ndarray, np.ndarray, PyTree]:
    """A model that adds nothing yet, the directions of keys and values, and the mixer's weights."""
    tokens = task.vocabulary_size
    config = ModelConfig(
        mixer, 1, WIDTH, tokens, task.max_length, feed_forward="none", mixer_options=options
    )
    (identity,) = directions(seed, WIDTH, tokens)
    keys, values = (identity[ids.start : ids.stop] for ids in (task.classes[n] for n in "kv"))
    params = blank(config, identity)
    return config, params, keys, values, params["block_0"]["mixer"]


def _in_all(params: PyTree) -> np.ndarray:
    """The direction [width, 1] on which every token reads 1 after its norm."""
    identity = params["token_embedding"]["embedding"]
    return identity.sum(axis=0)[:, None] / np.sqrt(WIDTH)
