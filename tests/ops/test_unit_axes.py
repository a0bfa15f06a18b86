"""Sums without axes of size 1, beside those of the plain program."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import config
from jax.extend.core import Jaxpr

from mecheval_jax.ops.unit_axes import without_unit_axes
from tests.support import twins

ONE_HEAD = (3, 5, 1, 4)


def normal(*arguments):
    return jnp.asarray(twins.normal(*arguments))


def sums_of(function, *arguments):
    """Shapes of all that a program and the programs within it add up."""
    found = []

    def look(program: Jaxpr):
        for equation in program.eqns:
            if equation.primitive.name == "reduce_sum":
                found.append(equation.invars[0].aval.shape)
            if equation.primitive.name == "jit":
                look(equation.params["jaxpr"].jaxpr)

    look(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def normed(x, share):
    """A norm by head, a share of it and a softmax, whose derivatives are sums over channels."""
    x = x * jax.lax.rsqrt((x * x).sum(axis=-1, keepdims=True) + 1e-6) * share[..., None]
    return (jax.nn.softmax(x, axis=-1) ** 2).sum()


# Catches sums over wrong axes, that lost their shape, or that still have an axis of size 1.
@pytest.mark.parametrize("members", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_those_of_the_plain_program(members, compiled):
    x, share = normal(0, *ONE_HEAD), normal(1, *ONE_HEAD[:-1])
    plain = jax.value_and_grad(normed, (0, 1))
    flat = without_unit_axes(plain)
    assert any(1 in shape and len(shape) > 3 for shape in sums_of(plain, x, share))
    products = [shape for shape in sums_of(flat, x, share) if shape[-1:] == (4,)]
    assert (3, 5, 4) in products
    assert len(sums_of(flat, x, share)) == len(sums_of(plain, x, share))
    if members:
        x, share = jnp.stack([x, 2 * x]), jnp.stack([share, share + 1])
        plain, flat = jax.vmap(plain), jax.vmap(flat)
    if compiled:
        flat = jax.jit(flat)
    for ours, theirs in zip(
        jax.tree.leaves(flat(x, share)), jax.tree.leaves(plain(x, share)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


SUMS = {
    "last": ((3,), {}),
    "unit axis too": ((2, 3), {}),
    "unit axis alone": ((2,), {}),
    "all": ((0, 1, 2, 3), {}),
    "first and last": ((0, 3), {}),
    "kept": ((3,), {"keepdims": True}),
}


# Catches axes that are counted among all and used among those that are left.
@pytest.mark.parametrize("name", SUMS)
def test_axes(name):
    axes, options = SUMS[name]
    a, b, c = (normal(seed, *ONE_HEAD) for seed in range(3))

    def total(a, b, c):
        return {"sum": (a * -b + c * 2.0 - a).sum(axis=axes, **options)}

    found, expected = without_unit_axes(total)(a, b, c)["sum"], total(a, b, c)["sum"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert all(1 not in shape for shape in sums_of(without_unit_axes(total), a, b, c))


# Catches squares, numbers and factors that are spread over channels or tokens, with which a sum is
# as slow as before, and axes of size 1 that such a factor loses although the product has them.
def test_squares_numbers_and_spread_factors():
    x, share, scale = normal(0, *ONE_HEAD), normal(1, 3, 5, 1, 1), normal(2, 1, 1, 1, 4)

    def total(x, share, scale):
        squares = (jnp.square(x) * 2.0).sum(axis=-1)
        return squares + (x * share * scale - share).sum(axis=-1) + (share * 3.0).sum(axis=-1)

    given = (x, share, scale)
    found, expected = without_unit_axes(total)(*given), total(*given)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert sums_of(without_unit_axes(total), *given) == [(3, 5, 4), (3, 5, 4), (3, 5)]


# Catches programs within programs that are not looked into, and loops that are taken apart.
def test_programs_within_programs():
    a, b = normal(0, *ONE_HEAD), normal(1, *ONE_HEAD)

    @jax.jit
    def inner(a, b):
        return (a * b).sum(axis=-1)

    def looped(a, b):
        return jax.lax.scan(lambda total, _: (total + inner(a, b), None), inner(a, b), length=2)[0]

    found = without_unit_axes(looped)
    np.testing.assert_allclose(found(a, b), 3 * (a * b).sum(axis=-1), rtol=1e-5, atol=1e-6)
    assert sums_of(found, a, b) == [(3, 5, 4)]


# Catches sums in half precision that are added up or returned in another type, and whole numbers.
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.int32])
def test_types(dtype):
    a = (normal(0, *ONE_HEAD) * 8).astype(dtype)

    def total(a):
        return (a * a).sum(axis=-1)

    found, expected = without_unit_axes(total)(a), total(a)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(
        found.astype(jnp.float32), expected.astype(jnp.float32), rtol=1e-2, atol=1e-6
    )


# Catches a rewritten program whose parts have lost the names by which profiles know them.
def test_names_of_scopes():
    def total(a):
        with jax.named_scope("norm"):
            return (a * a).sum(axis=-1)

    text = jax.jit(without_unit_axes(total)).lower(normal(0, *ONE_HEAD)).as_text(debug_info=True)
    assert "norm/reduce_sum" in text


# Catches settings that are in force around an operation and lost in the rewritten program.
def test_what_is_said_around_an_operation():
    def noisy(a):
        with jax.threefry_partitionable(False):
            noise = jax.random.normal(jax.random.key(1), a.shape)
        return (a * noise).sum(axis=-1)

    a = normal(0, *ONE_HEAD)
    np.testing.assert_allclose(without_unit_axes(noisy)(a), noisy(a), rtol=1e-5, atol=1e-6)


# Catches an operand that is computed anew on each way that leads to it, and for each sum.
def test_shared_operands_are_computed_once():
    def chained(x):
        y, total = x * x, 0.0
        for _ in range(12):
            y = y + y
            total += y.sum(axis=-1)
        return total

    x = normal(0, *ONE_HEAD)
    plain, flat = (
        len(jax.make_jaxpr(each)(x).eqns) for each in (chained, without_unit_axes(chained))
    )
    assert plain < flat < 4 * plain
    np.testing.assert_allclose(without_unit_axes(chained)(x), chained(x), rtol=1e-5)


# Catches constants that are part of the program itself and keep their axes of size 1.
def test_constants_within_the_program():
    factor = twins.normal(0, *ONE_HEAD)

    def total(a):
        return (a * factor).sum(axis=-1)

    a = normal(1, *ONE_HEAD)
    with config.use_simplified_jaxpr_constants(True):
        found = without_unit_axes(total)(a)
    np.testing.assert_allclose(found, total(a), rtol=1e-5, atol=1e-6)


# Catches a chain of operations that is followed to its end: deeper than Python's stack, and again
# for the axes of each sum.
def test_long_chains():
    def chained(row):
        y = row
        for _ in range(1000):
            y = y + row
        shapes = itertools.product((1, 3), repeat=3)
        return sum((y * jnp.ones((*shape, 4))).sum(axis=-1) for shape in shapes)

    row = normal(0, 1, 1, 1, 4)
    plain, flat = (
        len(jax.make_jaxpr(each)(row).eqns) for each in (chained, without_unit_axes(chained))
    )
    assert flat < plain + 300
    found, expected = without_unit_axes(chained)(row), chained(row)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
