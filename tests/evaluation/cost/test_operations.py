"""What is counted, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.evaluation.cost.operations import Count, count

A = jnp.ones((8, 16))
B = jnp.ones((16, 4))


@pytest.mark.parametrize(
    ("function", "arguments", "flops"),
    [
        (lambda a, b: a @ b, (A, B), 2 * 8 * 16 * 4),
        (lambda a, b: jnp.einsum("ti,tj->tij", a, b), (A, A), 2 * 8 * 16 * 16),
        (lambda a: jnp.exp(a) + 1, (A,), 2 * A.size),
        (lambda a: a.sum(), (A,), A.size),
        (lambda a: jnp.fft.rfft(a, axis=1), (A,), 5 * A.size * 4),
        (lambda a: a.T.reshape(-1)[:3], (A,), 0),
        (lambda a: jnp.stack(jnp.unstack(a)), (A,), 0),
        (lambda a: (a.real, a.imag, jax.lax.complex(a.imag, a.real)), (A + 1j,), 0),
        (
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1,), "VALID"),
            (jnp.ones((2, 3, 10)), jnp.ones((5, 3, 4))),
            2 * (2 * 5 * 7) * 3 * 4,
        ),
        (jax.jit(lambda a, b: a @ b), (A, B), 2 * 8 * 16 * 4),
    ],
    ids=[
        "product",
        "outer",
        "elementwise",
        "sum",
        "fourier",
        "moving",
        "stacking",
        "complex",
        "convolution",
        "jitted",
    ],
)
def test_operations(function, arguments, flops):
    """Catches a factor of two, a forgotten axis, and a function within a function."""
    assert count(function, *arguments).flops == flops


def turns(x, length):
    """Multiply a matrix by itself again and again."""
    return jax.lax.scan(lambda c, _: (c @ c, None), x, length=length)[0]


def test_a_loop_counts_as_often_as_it_runs():
    """Catches the compiler's way, which counts the body of a loop once."""
    x = jnp.ones((16, 16))
    once = 2 * 16**3
    assert count(lambda x: turns(x, 10), x).flops == 10 * once
    compiled = jax.jit(lambda x: turns(x, 10)).lower(x).compile()
    analysis = compiled.cost_analysis()
    assert analysis["flops"] < 2 * once
    # Each turn reads two matrices and writes one, and hands one on.
    assert count(lambda x: turns(x, 10), x).bytes == 10 * (3 + 2) * x.nbytes


@pytest.mark.parametrize(
    ("function", "arguments", "moved"),
    [
        (lambda x, i: x[i], (jnp.ones((1000, 4)), jnp.zeros(3, jnp.int32)), 2 * 3 * 16),
        (
            lambda x, u: jax.lax.dynamic_update_slice(x, u, (7, 0)),
            (jnp.ones((1000, 4)), jnp.ones((1, 4))),
            2 * 16,
        ),
        (lambda x, u: x.at[5].set(u), (jnp.ones((1000, 4)), jnp.ones(4)), 2 * 16),
        (lambda x, u: x.at[5].add(u), (jnp.ones((1000, 4)), jnp.ones(4)), 3 * 16),
        (jnp.sort, (jnp.ones(50),), 2 * 200),
    ],
    ids=["gather", "update", "scatter", "scatter_add", "sort"],
)
def test_traffic_is_of_what_moves(function, arguments, moved):
    """Catches a whole cache or embedding counted where one row of it is read or written."""
    found, places = count(function, *arguments), 16  # a few indices
    assert moved <= found.bytes <= moved + places
    assert found.flops <= 8


def test_the_compiler_agrees_where_there_is_no_loop():
    """Catches a count that is made for one kind of program alone."""

    def network(x, w):
        return jax.nn.softmax(jnp.tanh(x @ w) @ w.T, axis=-1).sum()

    x, w = jnp.ones((32, 64)), jnp.ones((64, 48))
    gradient = jax.grad(network, argnums=1)
    analysis = jax.jit(gradient).lower(x, w).compile().cost_analysis()
    assert count(gradient, x, w).flops == pytest.approx(analysis["flops"], rel=0.1)


def test_loops_without_an_end_and_branches():
    """Catches a silent undercount, and both branches where one runs."""
    loop = count(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, x), A[:, :8])
    assert loop.unbounded
    assert loop.flops >= 2 * 8**3
    branches = [lambda x: x @ x, lambda x: x]
    assert count(lambda x: jax.lax.cond(True, *branches, x), A[:, :8]).flops <= 2 * 8**3 + 8


def test_shapes_suffice():
    """Catches a count that computes."""
    huge = jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)
    assert count(lambda x: x @ x, huge).flops == 2e18


def test_counts_add_up():
    """Catches a sum that forgets that something was not bounded."""
    assert Count(1, 2) + Count(3, 4, True) == Count(4, 6, True)
    assert Count(1, 2, True).times(3) == Count(3, 6, True)
