"""Dependence: what an output can depend on, without a number."""

import jax
import jax.numpy as jnp

from mecheval_jax.evaluation.patching.dependence import dependence


def test_what_reaches_what():
    """Catches an input that is followed through the wrong equation, or lost in a loop."""

    def function(inputs):
        a, b = inputs["a"], inputs["b"]["deep"]
        running = jax.lax.scan(lambda carry, x: (carry + x, carry), jnp.zeros(3), a)[1]
        return {
            "of a": jnp.where(a > 0, running, 1.0),
            "of both": {"sum": a.sum() + b.sum(), "b": b},
            "of none": jnp.arange(3.0),
            "of a shape": jnp.ones(b.shape),
            "input": b,
        }

    shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert dependence(function, {"a": shape, "b": {"deep": shape}, "unread": shape}) == {
        "of a": {"a"},
        "of both": {"a", "b"},
        "of none": frozenset(),
        "of a shape": frozenset(),
        "input": {"b"},
    }
