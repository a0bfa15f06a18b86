"""What every mixer promises: causality, a recurrent form that is the parallel one, sites."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from tests.support.mixer_cases import (
    BATCH,
    CASES,
    FIXED_STATES,
    LENGTH,
    MAIN,
    OPERATION_BY_OPERATION,
    REACH,
    VARIANTS,
    WIDTH,
    example,
    mixer_of,
    parallel,
)


# Catches a mask that is off by one, a convolution that wraps round, and a mixer that does not
# mix: by derivatives, which no luck of the values can hide.
@pytest.mark.parametrize("case", CASES)
def test_causality(case):
    mixer, variables, x = example(case)
    direction = jax.random.normal(jax.random.key(1), (WIDTH,))
    read = lambda x: jnp.einsum("bld,d->bl", mixer.apply(variables, x[None]), direction)[0]
    jacobian = jax.jit(jax.jacrev(read))(x[0])  # [read at, depends on, width]
    depends = np.abs(np.asarray(jacobian)).max(axis=-1) > 0
    lag = np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None, :]
    np.testing.assert_array_equal(depends, (lag >= 0) & (lag < REACH.get(case, LENGTH)))


def check_recurrent_form(case, transform, length=LENGTH):
    mixer, variables, x = example(case)
    step = transform(lambda state, x_t: mixer.apply(variables, state, x_t, method="step"))
    state = mixer.apply(variables, BATCH, LENGTH + 2, method="initial_state")
    outputs = []
    for t in range(length):
        state, y_t = step(state, x[:, t])
        outputs.append(y_t)
    expected = parallel(case)[:, :length]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.stack(outputs, axis=1), expected, atol=1e-5 * scale)


def check_positions(case, transform):
    mixer, variables, x = example(case)
    positions = jnp.array([[8, 0, 3], [5, 5, 1]])
    y = transform(mixer.apply)(variables, x, positions)
    expected = np.take_along_axis(parallel(case), np.asarray(positions)[..., None], axis=1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(y, expected, atol=1e-5 * scale)


class Forms(chex.TestCase):
    """Catches a recurrent form that drifts from the parallel one, compiled or not.

    A state one token late, a cache longer than the document that leaks in, a lost bias; queries
    gathered from the wrong document, or masked as if in order.
    """

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.named_parameters((case, case) for case in MAIN)
    def test_recurrent_form(self, case):
        # Python is slow where nothing is compiled: three tokens tell.
        compiled = "without_jit" not in self._testMethodName
        check_recurrent_form(case, self.variant, LENGTH if compiled else 3)

    @chex.variants(with_jit=True)
    @parameterized.named_parameters((case, case) for case in MAIN)
    def test_positions(self, case):
        check_positions(case, self.variant)

    @chex.variants(without_jit=True)
    @parameterized.named_parameters((case, case) for case in OPERATION_BY_OPERATION)
    def test_positions_of_each_kind(self, case):
        check_positions(case, self.variant)


@pytest.mark.parametrize("case", VARIANTS)
def test_forms_of_variants(case):
    check_recurrent_form(case, jax.jit)
    check_positions(case, jax.jit)


SEVERAL_CHUNKS = 80
"""Tokens of more than two chunks (`ops.chunks.CHUNK`), in the middle of which states are read."""


# Catches a state that is handed from one chunk to the next without its decay, or a chunk too late.
@pytest.mark.parametrize("case", [case for case in MAIN if case in FIXED_STATES])
def test_forms_agree_over_several_chunks(case):
    _, variables, _ = example(case)
    mixer = mixer_of(case, SEVERAL_CHUNKS)
    x = jax.random.normal(jax.random.key(3), (1, SEVERAL_CHUNKS, WIDTH))
    state = mixer.apply(variables, 1, SEVERAL_CHUNKS, method="initial_state")
    step = lambda state, x_t: mixer.apply(variables, state, x_t, method="step")
    _, outputs = jax.jit(lambda state, by_time: jax.lax.scan(step, state, by_time))(
        state, jnp.moveaxis(x, 1, 0)
    )
    expected = np.asarray(jax.jit(mixer.apply)(variables, x))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.moveaxis(outputs, 0, 1), expected, atol=1e-5 * scale)


# Catches a step that changes the shape or type of its state, which no loop could carry.
@pytest.mark.parametrize("case", CASES)
def test_shapes(case):
    mixer, variables, x = example(case)
    for length in (1, LENGTH):
        y = jax.eval_shape(mixer.apply, variables, x[:, :length])
        assert (y.shape, y.dtype) == ((BATCH, length, WIDTH), x.dtype)
    state = mixer.apply(variables, BATCH, LENGTH, method="initial_state")
    step = functools.partial(mixer.apply, method="step")
    after, y_t = jax.eval_shape(step, variables, state, x[:, 0])
    assert y_t.shape == (BATCH, WIDTH)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


# Catches LAPACK, of first weights, a solve or its gradient: its calls by two devices of a host wait
# for each other for ever.
@pytest.mark.parametrize("case", MAIN)
def test_no_lapack(case):
    mixer, x = mixer_of(case), jax.ShapeDtypeStruct((BATCH, LENGTH, WIDTH), np.float32)

    def gradient(key, x):
        return jax.grad(lambda variables: mixer.apply(variables, x).sum())(mixer.init(key, x))

    assert "lapack" not in jax.jit(gradient).lower(jax.random.key(0), x).as_text()


# Catches half-precision inputs that raise the output's type, or a recurrence that is run in it:
# 8 bits are lost in every product of a decay.
@pytest.mark.parametrize("case", ["attention", "hyena", "h3", "mamba", "gated_delta_net", "rwkv4"])
def test_half_precision(case):
    mixer, variables, x = example(case)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (variables, x))
    y = jax.jit(mixer.apply)(*half)
    assert y.dtype == jnp.bfloat16
    expected = parallel(case)
    error = np.abs(np.asarray(y, np.float32) - expected).mean() / np.abs(expected).mean()
    assert error < 0.05
