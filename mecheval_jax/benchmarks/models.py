"""Benchmarks of a model of two layers: growth of costs with length, and cost of unused sites."""

import math
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import jax

from mecheval_jax.array_types import PyTree, Scalar
from mecheval_jax.benchmarks.measured import (
    PLAIN,
    Measured,
    measured_in_turn,
    one,
    ratio,
    temporary_bytes,
    times,
)
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.sites import Site

LENGTHS = (512, 4096)
FIXED_STATE = {
    "mamba": {},
    "mamba2": {},
    "hyena": {},
    "h3": {"d_state": 64},
    "s4d": {},
    "delta_net": {},
    "gated_delta_net": {},
    "gated_delta_net_2": {},
    "gated_delta_product": {},
    "kda": {},
    "rwkv7": {},
    "comba": {},
    "gla": {},
    "retnet": {},
    "mamba3": {},
    "log_linear_mamba2": {},
    "mlstm": {},
    "hgrn2": {},
    "gated_slot_attention": {},
    "mesa_net": {"heads": 2},
}
"""Mixers whose cost should grow linearly with length, with options for a fixed size of state."""


def _length_step(
    mixer: str, options: dict[str, Any], length: int
) -> tuple[Any, Callable[[], PyTree]]:
    """Compiled gradient of a model of two layers, width 64, on 4 documents; and its call."""
    config = ModelConfig(mixer, 2, 64, 64, 4096, mixer_options=options)
    params = initialize(config, jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (4, length), 0, 64)

    def loss(params: PyTree) -> Scalar:
        logits = LanguageModel(config).apply({"params": params}, tokens)
        return jax.nn.logsumexp(logits, axis=-1).mean()

    program = jax.jit(jax.grad(loss)).lower(params).compile()
    return program, lambda: program(params)


def costs_in_length() -> Iterator[Measured]:
    """Time and temporary memory of loss and gradient at 512 and at 4,096 tokens, batch 4.

    The power is the exponent with which a cost grows with length. The optimizer, the rest of a
    training step, costs the same at every length.
    """
    for mixer, options in FIXED_STATE.items():
        costs: dict[str, list[float]] = {"time": [], "memory": []}
        for length in LENGTHS:
            program, call = _length_step(mixer, options, length)
            found = (
                times(mixer, f"time, {length:,}", call, repeats=3),
                one(mixer, f"memory, {length:,}", temporary_bytes(program), "B"),
            )
            for name, row in zip(costs, found, strict=True):
                costs[name].append(row.median)
            yield from found
        for name, (short, long) in costs.items():
            power = math.log(long / short) / math.log(LENGTHS[1] / LENGTHS[0])
            yield one(mixer, f"power of the {name}", power, PLAIN)


def unused_sites() -> Iterator[Measured]:
    """Times of gradients of a model with unused sites, and of one without sites, at 128 tokens."""
    for mixer in ("attention", "mamba", "delta_net", "hyena"):
        calls = {"with sites": _length_step(mixer, {}, 128)[1]}
        with unittest.mock.patch.object(Site, "__call__", lambda self, live: live):
            calls["without"] = _length_step(mixer, {}, 128)[1]
        found = measured_in_turn(mixer, calls, rounds=20)
        yield from found.values()
        yield ratio(found["with sites"], found["without"])
