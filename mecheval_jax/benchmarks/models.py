"""Benchmarks of a model of two layers: growth of costs with length, and costs of unused sites."""

import math
from collections.abc import Callable
from typing import Any

import jax

from mecheval_jax.array_types import PyTree, Scalar
from mecheval_jax.evaluation.cost.timing import seconds
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.sites import Site

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


def costs_in_length() -> None:
    """Print time and temporary memory of loss and gradient at 512 and at 4,096 tokens.

    The rest of a training step, the optimizer, costs the same at every length.
    """
    print(f"\n{'batch 4, width 64':20}{'512, ms':>10}{'4096, ms':>10}{'power':>7}", end="")
    print(f"{'512, MB':>10}{'4096, MB':>10}{'power':>7}")
    for mixer, options in FIXED_STATE.items():
        times, sizes = [], []
        for length in (512, 4096):
            program, call = _length_step(mixer, options, length)
            times.append(seconds(call, repeats=3) * 1e3)
            sizes.append(program.memory_analysis().temp_size_in_bytes / 1e6)
        row = f"{mixer:20}"
        for short, long in (times, sizes):
            row += f"{short:10.1f}{long:10.1f}{math.log(long / short, 8):7.2f}"
        print(row)
    print("power: of the length with which the cost grows")


def unused_sites() -> None:
    """Print times of gradients of a model with unused sites, and of one without sites."""
    print(f"\n{'unused sites, length 128':26}{'with, ms':>10}{'without, ms':>13}{'ratio':>8}")
    call = Site.__call__
    for mixer in ("attention", "mamba", "delta_net", "hyena"):
        spent = {}
        for name, site in (("with", call), ("without", lambda self, live: live)):
            Site.__call__ = site
            _, program = _length_step(mixer, {}, 128)
            spent[name] = seconds(program, repeats=20) * 1e3
        Site.__call__ = call
        row = f"{mixer:26}{spent['with']:10.1f}{spent['without']:13.1f}"
        print(f"{row}{spent['with'] / spent['without']:8.2f}")
