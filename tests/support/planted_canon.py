"""A model whose mechanism is known: one layer of attention that binds pairs by its Canon-B.

Its convolution gives every key what the token before it was, and leaves queries and values alone. A
key of the document therefore matches the token after its first occurrence, whose value is copied:
the pair is bound in the key of the value's token, before any attention.
"""

import numpy as np

from mecheval_jax.ground_truth.planted import (
    ANSWER,
    SHARP,
    TASK,
    Planted,
    as_arrays,
    blank,
    directions,
)
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall


def canon_attention(seed: int = 0, task: AssociativeRecall = TASK) -> Planted:
    """The model, its parameters and its task."""
    width, tokens = 64, task.vocabulary_size
    config = ModelConfig(
        mixer="attention",
        layers=1,
        width=width,
        vocabulary_size=tokens,
        max_length=task.max_length,
        feed_forward="none",
        canon=2,
        canon_at="B",
        canon_bias=False,
    )
    (identity,) = directions(seed, width, tokens)
    same = identity.T @ identity
    sharpen = np.sqrt(SHARP * np.sqrt(width)) / np.sqrt(width)
    kernels = {"q_proj": sharpen * same, "k_proj": sharpen * same, "out_proj": np.eye(width)}
    kernels["v_proj"] = ANSWER * same / np.sqrt(width)
    params = blank(config, identity)
    mixer = params["block_0"]["mixer"]
    for name, kernel in kernels.items():
        mixer[name]["kernel"] = kernel
    # Of keys the convolution takes away the token itself and adds the one before.
    mixer["qkv_canon"]["weight"][:, width : 2 * width] = np.array([[1.0], [-1.0]])
    return config, as_arrays(params), task
