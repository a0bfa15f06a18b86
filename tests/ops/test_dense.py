"""The product of a dense layer, and where its gradients have a rule of their own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.dense import product, quick_gradients
from tests.support import twins


def normal(*arguments):
    return jnp.asarray(twins.normal(*arguments))


def names_of(function, *arguments):
    return {equation.primitive.name for equation in jax.make_jaxpr(function)(*arguments).eqns}


# Catches a gradient of the wrong factor, one that is not transposed back, and lost leading axes.
@pytest.mark.parametrize("axes", [(), (5,), (2, 5), (3, 2, 5)])
@pytest.mark.parametrize("sizes", [(3, 7), (7, 3), (4, 4)])
@pytest.mark.parametrize("members", [False, True])
def test_gradients_are_those_of_the_plain_product(axes, sizes, members):
    inputs, outputs = sizes
    lead = (2,) if members else ()
    x, kernel = normal(0, *lead, *axes, inputs), normal(1, *lead, inputs, outputs)
    dy = normal(2, *lead, *axes, outputs)

    def pulled(x, kernel, dy):
        y, pull = jax.vjp(product, x, kernel)
        return y, *pull(dy)

    pulled = jax.vmap(pulled) if members else pulled
    plain = pulled(x, kernel, dy)
    with quick_gradients():
        quick = pulled(x, kernel, dy)
        compiled = jax.jit(lambda *a: pulled(*a))(x, kernel, dy)
    for found in (quick, compiled):
        for ours, theirs in zip(found, plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    rows = "nmtux"[: len(axes)]
    letters = ("e" if members else "") + rows
    expected = np.einsum(f"{letters}i,{letters}o->{'e' if members else ''}io", x, dy)
    np.testing.assert_allclose(quick[2], expected, rtol=1e-5, atol=1e-5)


# Catches factors of two types, of which jax's own gradients are of each factor's type.
def test_factors_of_two_types():
    x, kernel = normal(0, 5, 3).astype(jnp.bfloat16), normal(1, 3, 4)
    with quick_gradients():
        found = jax.grad(lambda x, kernel: product(x, kernel).sum(), (0, 1))(x, kernel)
    assert [one.dtype for one in found] == [jnp.bfloat16, jnp.float32]
    ones = jnp.ones((5, 4))
    np.testing.assert_allclose(found[0].astype(jnp.float32), ones @ kernel.T, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found[1], x.astype(jnp.float32).T @ ones, rtol=1e-5, atol=1e-5)


# Catches a model without derivatives in forward mode, and a rule that stays behind.
def test_the_rule_ends_with_the_context():
    x, kernel = normal(0, 5, 3), normal(1, 3, 4)
    with quick_gradients():
        assert "custom_vjp_call" in names_of(lambda x: product(x, kernel), x)
        with pytest.raises(TypeError, match="custom_vjp"):
            jax.jvp(lambda x: product(x, kernel), (x,), (x,))
    assert names_of(lambda x: product(x, kernel), x) == {"dot_general"}
    y, tangent = jax.jvp(lambda x: product(x, kernel), (x,), (x,))
    np.testing.assert_allclose(tangent, y)


# Catches a dense layer that is passed over, one of another kind that is not, and a lost bias.
def test_dense_layers_of_any_module():
    class Both(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.Dense(4, kernel_init=nn.initializers.normal(1.0))(x)
            wide = nn.Dense(2, dot_general=jax.lax.dot_general, name="wide")(h)
            return wide, nn.Dense(2, bias_init=nn.initializers.ones, dtype=jnp.bfloat16)(h)

    x = normal(0, 2, 5, 3)
    with quick_gradients():
        params = Both().init(jax.random.key(0), x)
    plain = Both().apply(params, x)
    with quick_gradients():
        found = Both().apply(params, x)
        calls = str(jax.make_jaxpr(Both().apply)(params, x)).count("custom_vjp_call")
    assert calls == 2
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
