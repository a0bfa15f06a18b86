"""AdamW (Loshchilov and Hutter 2019) whose rate and decay are data.

    p <- p - rate(t) (m^ / (sqrt(v^) + 1e-8) + weight_decay p),    betas 0.9 and 0.999

The schedule follows the study: with T steps, t from 0 and w = floor(fraction T), the rate
is lr t / w while t < w (so the very first step changes nothing), then
lr (1 + cos(pi (t - w) / (T - w))) / 2, or lr (T - t) / (T - w), or lr.
"""

import typing

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mecheval_jax.array_types import Array, Float, Int, PyTree, Scalar

DECAYS = ("cosine", "linear", "constant")

ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class Hyperparameters:
    """What differs between runs of one shape: arrays, so that none of it recompiles.

    Attributes:
        learning_rate: the highest of the schedule.
        weight_decay: decoupled decay.
        steps: length T of the schedule.
    """

    learning_rate: Scalar
    weight_decay: Scalar
    steps: Int[Array, ""]


def schedule(
    step: Int[Array, ""], steps: Int[Array, ""], warmup_fraction: float, decay: str
) -> Float[Array, ""]:
    """Factor of the learning rate at a step, in [0, 1]."""
    # The fraction is a float32 on the device: floor(0.1 T) needs a nudge to be exact.
    warmup = jnp.floor(warmup_fraction * steps + 1e-3)
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
    moments: optax.OptState,
    params: PyTree,
    hyperparameters: Hyperparameters,
    factor: Float[Array, ""],
) -> tuple[PyTree, optax.OptState]:
    """New parameters and moments after one step, at `factor` times the learning rate."""
    directions, moments = ADAM.update(gradients, moments, params)
    rate = hyperparameters.learning_rate * factor

    def descend(param, direction):
        return param - rate * (direction + hyperparameters.weight_decay * param)

    return jax.tree.map(descend, params, directions), moments
