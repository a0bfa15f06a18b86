"""What every mixer promises: causality, a recurrent form that is the parallel one, sites."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import (
    H3,
    S4D,
    Attention,
    BaseConv,
    Based,
    DeltaNet,
    GatedLinearAttention,
    Mamba2,
    build_mixer,
)
from tests.support import references

BATCH, LENGTH, WIDTH, LIMIT = 2, 9, 16, 12
CASES = {
    "attention": ("attention", {}),
    "attention_2_heads": ("attention", {"heads": 2, "bias": True}),
    "attention_shared_rotary": ("attention", {"heads": 4, "key_heads": 2, "encoding": "rotary"}),
    "attention_alibi": ("attention", {"heads": 4, "encoding": "alibi"}),
    "window": ("sliding_window_attention", {"window": 3}),
    "base_conv_3": ("base_conv", {"kernel": 3}),
    "base_conv_implicit": ("base_conv", {"kernel": "implicit"}),
    "base_conv_explicit": ("base_conv", {"kernel": "explicit"}),
    "based": ("based", {"heads": 2, "feature_width": 4}),
    "based_linear": ("based", {"feature_width": 4, "backend": "chunked", "encoding": "rotary"}),
    "hyena": ("hyena", {"order": 8}),
    "hyena_skip": ("hyena", {"order": 8, "skip": True, "kernel": 0}),
    "h3": ("h3", {}),
    "h3_small_state": ("h3", {"d_state": 4, "head_dim": 4}),
    "s4d": ("s4d", {"d_state": 8}),
    "s4d_zoh": ("s4d", {"d_state": 8, "discretization": "zoh"}),
    "mamba": ("mamba", {"d_state": 4}),
    "mamba_no_conv": ("mamba", {"d_state": 4, "d_conv": 0}),
    "mamba2": ("mamba2", {"d_state": 4, "head_dim": 8, "groups": 2}),
    "mamba2_no_conv": ("mamba2", {"d_state": 4, "head_dim": 16, "d_conv": 0}),
    "delta_net": ("delta_net", {"heads": 2}),
    "delta_net_no_conv": ("delta_net", {"kernel": 0, "backend": "sequential"}),
    "gated_delta_net": ("gated_delta_net", {}),
    "gated_delta_net_no_conv": ("gated_delta_net", {"heads": 2, "kernel": 0}),
    "gla": ("gla", {"heads": 2}),
    "retnet": ("retnet", {"heads": 2}),
    "rwkv4": ("rwkv4", {}),
    "rwkv4_associative": ("rwkv4", {"backend": "associative"}),
    "lstm": ("lstm", {}),
}
VARIANTS = (
    "attention_2_heads",
    "window",
    "base_conv_explicit",
    "hyena_skip",
    "h3_small_state",
    "s4d_zoh",
    "mamba_no_conv",
    "mamba2_no_conv",
    "delta_net_no_conv",
    "gated_delta_net_no_conv",
    "rwkv4_associative",
)
"""Cases that are others with an option changed: their code is compiled only."""

MAIN = [case for case in CASES if case not in VARIANTS]
OPERATION_BY_OPERATION = ("attention", "based_linear", "hyena", "s4d", "mamba", "gla")
"""One of each kind of parallel form: scores, sums, filters, kernels, a scan, chunks."""

REACH = {"base_conv_3": 3, "window": 3}
"""Tokens that an output reads, itself included, where that is not all of them."""


def mixer_of(case):
    name, options = CASES[case]
    options = dict(options)
    encoding = options.pop("encoding", "none")
    shape = {"layers": 2, "width": WIDTH, "max_length": LIMIT, "encoding": encoding}
    return build_mixer(name, 1, **shape, options=options)


@functools.cache
def example(case):
    """A mixer with parameters of size 1 (a fresh one does almost nothing) and an input."""
    mixer = mixer_of(case)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    x = jax.random.normal(next(keys), (BATCH, LENGTH, WIDTH))
    params = jax.jit(mixer.init)(next(keys), x)["params"]
    noisy = lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape)
    return mixer, {"params": jax.tree.map(noisy, params)}, x


@functools.cache
def parallel(case):
    """The outputs of the parallel form, compiled."""
    mixer, variables, x = example(case)
    return np.asarray(jax.jit(mixer.apply)(variables, x))


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
    np.testing.assert_allclose(np.stack(outputs, axis=1), expected, atol=2e-5 * scale)


def check_positions(case, transform):
    mixer, variables, x = example(case)
    positions = jnp.array([[8, 0, 3], [5, 5, 1]])
    y = transform(mixer.apply)(variables, x, positions)
    expected = np.take_along_axis(parallel(case), np.asarray(positions)[..., None], axis=1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(y, expected, atol=2e-5 * scale)


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


# Catches heads that are interleaved instead of contiguous, and a wrong scale of the scores.
@pytest.mark.parametrize(
    ("case", "names", "twin"),
    [
        ("attention_2_heads", ("q_proj", "k_proj", "v_proj", "out_proj"), "softmax_attention"),
        ("based", ("proj_q", "proj_k", "proj_v", "proj_o"), "taylor_attention"),
    ],
)
def test_attention_against_its_twin(case, names, twin):
    mixer, variables, x = example(case)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    dense = lambda name, x: x @ params[name]["kernel"] + params[name].get("bias", 0)
    q, k, v = (
        dense(name, np.asarray(x, np.float64)).reshape(BATCH, LENGTH, mixer.heads, -1)
        for name in names[:3]
    )
    heads = getattr(references, twin)(q, k, v).reshape(BATCH, LENGTH, WIDTH)
    expected = dense(names[3], heads)
    np.testing.assert_allclose(parallel(case), expected, atol=1e-5 * np.abs(expected).max())


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Attention(16, heads=3), r"16.*\b3 heads"),
        (lambda: Attention(16, heads=4, key_heads=3), r"4 heads.*key_heads 3"),
        (lambda: Based(16, heads=3), r"16.*\b3 heads"),
        (lambda: Mamba2(16, head_dim=24), r"32 inner channels.*heads of 24"),
        (lambda: Mamba2(16, head_dim=8, groups=3), r"in 3 groups"),
        (lambda: H3(16, 8, head_dim=3), r"16.*head_dim 3"),
        (lambda: S4D(16, d_state=7), "7 is odd"),
        (lambda: DeltaNet(16, heads=3), r"16 channels.*3 heads"),
        (lambda: GatedLinearAttention(16, heads=16), r"8 channels.*16 heads"),
        (lambda: BaseConv(16, 8, kernel="long"), r"'long'.*implicit or explicit"),
        (lambda: BaseConv(16, 8, kernel=0), "kernel 0"),
    ],
)
def test_shapes_that_do_not_divide(build, message):
    with pytest.raises(UserError, match=message):
        build()


# Catches a filter that is silently cut, or tiled, beyond its limit.
@pytest.mark.parametrize("case", ["base_conv_implicit", "base_conv_explicit", "hyena"])
def test_longer_than_the_filter(case):
    mixer, variables, _ = example(case)
    mixer.apply(variables, jnp.zeros((1, LIMIT, WIDTH)))
    with pytest.raises(UserError, match=f"{LIMIT + 1} tokens.*{LIMIT}"):
        mixer.apply(variables, jnp.zeros((1, LIMIT + 1, WIDTH)))


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
