"""The models that are trained to mechanisms: task, shapes, and which mechanism each can hold."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mecheval_jax.ground_truth.mechanisms import CONVOLUTION, DIRECT, INDUCTION
from mecheval_jax.ground_truth.training import Settings
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

TASK = AssociativeRecall(
    pairs=4, key_vocabulary=8, value_vocabulary=8, queries=4, fresh_replacement=True
)
"""4 pairs of 8 keys and 8 values, all of which are asked; interventions are on the first query."""

HYBRID = "gated_delta_net,attention"

TRAINED: tuple[tuple[str, str], ...] = (
    ("attention", INDUCTION),
    ("gated_delta_net", CONVOLUTION),
    ("mamba", CONVOLUTION),
    (HYBRID, INDUCTION),
    ("gated_delta_net", INDUCTION),
    ("mamba", INDUCTION),
    (HYBRID, CONVOLUTION),
    ("attention", DIRECT),
)
"""Architectures with the mechanisms to which they are trained.

Attention has no local operation that could join a pair. A layer with a short convolution could
retrieve directly only by not using it.
"""

SHAPES: Mapping[tuple[str, str], Mapping[str, Any]] = MappingProxyType(
    {
        ("attention", DIRECT): {
            "width": 64,
            "mixer_options": {"heads": 4},
            "feed_forward": "none",
        },
        ("mamba", CONVOLUTION): {"width": 64, "mixer_options": {"d_state": 8}},
        ("mamba", INDUCTION): {"width": 64, "mixer_options": {"d_state": 8}},
    }
)
"""Fields of the shapes that learn their mechanism at twice the width alone.

With feed-forward parts attention finds another way to answer at the question, in which each pair
has a say about the others; that is no retrieval, and the verdict abstains.
"""

SETTINGS: Mapping[tuple[str, str], Settings] = MappingProxyType(
    {
        ("attention", DIRECT): Settings(steps=2000),
        ("mamba", CONVOLUTION): Settings(steps=1000, gain=2.0, learning_rate=1e-2),
        ("mamba", INDUCTION): Settings(steps=1000, gain=2.0, learning_rate=1e-2),
    }
)
"""Settings of the training, where they differ from the defaults."""


def shape_of(mixer: str, mechanism: str) -> ModelConfig:
    """Shape of a model: two layers of width 32 or 64, feed-forward parts in attention alone."""
    fields: dict[str, Any] = {
        "width": 32,
        "positions": positions_of(mixer),
        "feed_forward": "mlp" if mixer == "attention" else "none",
        **SHAPES.get((mixer, mechanism), {}),
    }
    return ModelConfig(
        mixer=mixer,
        layers=2,
        vocabulary_size=TASK.vocabulary_size,
        max_length=TASK.max_length,
        **fields,
    )
