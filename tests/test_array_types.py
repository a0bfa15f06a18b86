"""Annotations of arrays: the tests check them at every call."""

import beartype
import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from mecheval_jax.array_types import Array, Float, Key, Scalar
from mecheval_jax.ops.positions import at_positions


@jaxtyping.jaxtyped(typechecker=beartype.beartype)
def mean(x: Float[Array, "batch width"], key: Key, scale: Scalar) -> Float[Array, " batch"]:
    del key
    return scale * x.mean(axis=1)


def test_kinds_of_arrays():
    """Catches a `Key` that takes numbers, and a `Scalar` that takes an array."""
    x, one = jnp.ones((2, 3)), jnp.ones(())
    assert mean(x, jax.random.key(0), one).shape == (2,)
    for arguments in (
        (x, one, one),
        (x, jax.random.key(0), jnp.ones(1)),
        (jnp.ones((2, 3), int), jax.random.key(0), one),
    ):
        with pytest.raises(jaxtyping.TypeCheckError):
            mean(*arguments)


def test_the_package_is_checked():
    """Catches an import of the package before the hook that checks it: nothing would be."""
    with pytest.raises(jaxtyping.TypeCheckError):
        at_positions(jnp.ones((2, 3)), jnp.zeros((3, 1), jnp.int32))
