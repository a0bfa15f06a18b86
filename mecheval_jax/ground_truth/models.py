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

TRAINED: tuple[tuple[str, str], ...] = tuple(
    (mixer, mechanism)
    for mixer in ("attention", "gated_delta_net", "mamba", HYBRID)
    for mechanism in (INDUCTION, DIRECT, CONVOLUTION)
)
"""Architectures with the mechanisms to which they are trained."""

_HEADS: Mapping[str, Any] = MappingProxyType(
    {"width": 64, "mixer_options": {"heads": 4}, "feed_forward": "none"}
)
_PLACED: Mapping[str, Any] = MappingProxyType({"width": 64, "positions": "learned"})

SHAPES: Mapping[tuple[str, str], Mapping[str, Any]] = MappingProxyType(
    {
        ("attention", DIRECT): _HEADS,
        ("attention", CONVOLUTION): {**_HEADS, "canon": 4},
        ("gated_delta_net", INDUCTION): {"width": 64},
        ("gated_delta_net", DIRECT): _PLACED,
        ("mamba", INDUCTION): {"width": 64, "mixer_options": {"d_state": 8}},
        ("mamba", DIRECT): {**_PLACED, "mixer_options": {"d_state": 16}},
        ("mamba", CONVOLUTION): {"width": 64, "mixer_options": {"d_state": 8}},
        (HYBRID, DIRECT): _PLACED,
    }
)
"""Fields of the shapes that learn their mechanism, where they differ from those of `shape_of`.

Attention has no local operation that could join a pair, and gets one (Canon-A). With feed-forward
parts it finds another way to answer at the question, in which each pair has a say about the others;
that is no retrieval, and the verdict abstains. A recurrence whose convolution must not join a pair
can find the asked key and fetch the token behind it if its tokens know their places: it gets
learned positions.
"""

SETTINGS: Mapping[tuple[str, str], Settings] = MappingProxyType(
    {
        ("attention", DIRECT): Settings(steps=2000),
        ("attention", CONVOLUTION): Settings(steps=1000),
        ("gated_delta_net", INDUCTION): Settings(steps=1000),
        ("gated_delta_net", DIRECT): Settings(steps=1000, logits=1.0),
        ("mamba", INDUCTION): Settings(steps=1000, gain=2.0, learning_rate=1e-2),
        ("mamba", DIRECT): Settings(steps=2000, gain=2.0, learning_rate=1e-2, logits=1.0),
        ("mamba", CONVOLUTION): Settings(steps=1000, gain=2.0, learning_rate=1e-2),
        (HYBRID, DIRECT): Settings(steps=1000, logits=1.0),
    }
)
"""Settings of the training, where they differ from the defaults."""


def shape_of(mixer: str, mechanism: str) -> ModelConfig:
    """Shape of a model.

    It has two layers of width 32, and feed-forward parts in attention alone, unless `SHAPES` says
    otherwise.
    """
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
