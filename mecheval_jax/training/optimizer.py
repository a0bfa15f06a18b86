"""AdamW (Loshchilov and Hutter 2019) whose rate, decay and betas are data.

    p <- p - rate(t) (m^ / (sqrt(v^) + 1e-8) + weight_decay p)

The schedule follows the study: with T steps, t from 0 and w = floor(fraction T), the rate
is lr t / w while t < w (so the very first step changes nothing), then
lr (1 + cos(pi (t - w) / (T - w))) / 2, or lr (T - t) / (T - w), or lr.
"""

import fractions
import types
import typing
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mecheval_jax.array_types import Array, Float, Int, PyTree, Scalar, UInt32

DECAYS = ("cosine", "linear", "constant")

EPSILON = 1e-8

MOST_PARTS = 10_000
"""Greatest denominator of a warm-up's share, with which whole numbers of 32 bits are exact."""


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class Hyperparameters:
    """Settings in which runs of one shape differ: arrays, so that no change recompiles.

    Attributes:
        learning_rate: Highest rate of the schedule.
        weight_decay: Decoupled decay.
        beta1, beta2: Decays of Adam's running means of gradients and of their squares.
        steps: Length T of the schedule.
        seed: Seed of the initialisation.
        data_seed: Seed of the documents.
    """

    learning_rate: Scalar
    weight_decay: Scalar
    beta1: Scalar
    beta2: Scalar
    steps: Int[Array, ""]
    seed: UInt32[Array, ""]
    data_seed: UInt32[Array, ""]


class Special(typing.NamedTuple):
    """How a parameter is trained otherwise than the rest.

    Attributes:
        rate: Factor of its learning rate.
        decays: Whether it has weight decay.
    """

    rate: float = 1.0
    decays: bool = True


def fraction(share: float) -> fractions.Fraction:
    """The fraction that a share stands for: 1/3 is 0.3333333333333333."""
    return fractions.Fraction(str(share)).limit_denominator(MOST_PARTS)


def new_opt_state(params: PyTree) -> optax.OptState:
    """Adam's running means before the first step: zeros, whatever the betas."""
    return optax.scale_by_adam().init(params)


def schedule(
    step: Int[Array, ""], steps: Int[Array, ""], warmup_fraction: float, decay: str
) -> Float[Array, ""]:
    """Factor of the learning rate at a step, in [0, 1]."""
    # floor(f T) in whole numbers: in float32 a product just below one may be rounded up to it.
    share = fraction(warmup_fraction)
    whole, rest = steps // share.denominator, steps % share.denominator
    warmup = whole * share.numerator + rest * share.numerator // share.denominator
    warmup = warmup.astype(jnp.float32)
    rising = step / jnp.maximum(warmup, 1)
    progress = (step - warmup) / jnp.maximum(steps - warmup, 1)
    falling = {
        "cosine": (1 + jnp.cos(jnp.pi * progress)) / 2,
        "linear": 1 - progress,
        "constant": jnp.ones_like(progress),
    }[decay]
    return jnp.where(step < warmup, rising, falling)


def update(
    gradients: PyTree,
    opt_state: optax.OptState,
    params: PyTree,
    hyperparameters: Hyperparameters,
    factor: Float[Array, ""],
    special: Mapping[str, Special] = types.MappingProxyType({}),
) -> tuple[PyTree, optax.OptState]:
    """New parameters and running means after one step, at `factor` times the learning rate.

    Parameters at the paths in `special` are trained as it says.
    """
    adam = optax.scale_by_adam(hyperparameters.beta1, hyperparameters.beta2, EPSILON)
    directions, opt_state = adam.update(gradients, opt_state, params)
    rate = hyperparameters.learning_rate * factor

    def descend(path: tuple, param: Array, direction: Array) -> Array:
        own = special.get(jax.tree_util.keystr(path, simple=True, separator="/"), Special())
        if own.decays:
            direction = direction + hyperparameters.weight_decay * param
        return param - (rate if own.rate == 1 else own.rate * rate) * direction

    return jax.tree.map_with_path(descend, params, directions), opt_state
