"""What every mixer promises: causality, a recurrent form that is the parallel one, errors."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Attention, BaseConv, Based, Hyena, Mamba, build_mixer
from tests import references

pytestmark = pytest.mark.usefixtures("quick_compilation")

BATCH, LENGTH, WIDTH, LIMIT = 2, 9, 16, 12
MIXERS = {
    "attention": Attention(WIDTH),
    "attention_2_heads": Attention(WIDTH, heads=2, bias=True),
    "base_conv_3": BaseConv(WIDTH, LIMIT, kernel=3),
    "base_conv_implicit": BaseConv(WIDTH, LIMIT, kernel="implicit"),
    "based": Based(WIDTH, heads=2, feature_width=4),
    "hyena": Hyena(WIDTH, LIMIT, order=8),
    "hyena_skip": Hyena(WIDTH, LIMIT, order=8, skip=True),
    "mamba": Mamba(WIDTH, d_state=4),
    "mamba_no_conv": Mamba(WIDTH, d_state=4, d_conv=0),
}
REACH = {"base_conv_3": 3}
"""Tokens that an output reads, itself included, where that is not all of them."""


@functools.cache
def example(case):
    """A mixer with parameters of size 1 (a fresh one does almost nothing) and an input."""
    mixer = MIXERS[case]
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
@pytest.mark.parametrize("case", MIXERS)
def test_causality(case):
    mixer, variables, x = example(case)
    direction = jax.random.normal(jax.random.key(1), (WIDTH,))
    read = lambda x: jnp.einsum("bld,d->bl", mixer.apply(variables, x[None]), direction)[0]
    jacobian = jax.jit(jax.jacrev(read))(x[0])  # [read at, depends on, width]
    depends = np.abs(np.asarray(jacobian)).max(axis=-1) > 0
    lag = np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None, :]
    np.testing.assert_array_equal(depends, (lag >= 0) & (lag < REACH.get(case, LENGTH)))


class Forms(chex.TestCase):
    """Catches a recurrent form that drifts from the parallel one, compiled or not.

    A state one token late, a cache longer than the document that leaks in, a lost bias.
    """

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.named_parameters((case, case) for case in MIXERS)
    def test_recurrent_form(self, case):
        mixer, variables, x = example(case)
        step = self.variant(lambda state, x_t: mixer.apply(variables, state, x_t, method="step"))
        state = mixer.apply(variables, BATCH, LENGTH + 2, method="initial_state")
        outputs = []
        for t in range(LENGTH):
            state, y_t = step(state, x[:, t])
            outputs.append(y_t)
        expected = parallel(case)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(np.stack(outputs, axis=1), expected, atol=2e-5 * scale)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.named_parameters((case, case) for case in MIXERS)
    def test_positions(self, case):
        """Catches queries gathered from the wrong document, or masked as if in order."""
        mixer, variables, x = example(case)
        positions = jnp.array([[8, 0, 3], [5, 5, 1]])
        y = self.variant(mixer.apply)(variables, x, positions)
        expected = np.take_along_axis(parallel(case), np.asarray(positions)[..., None], axis=1)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(y, expected, atol=2e-5 * scale)


# Catches a step that changes the shape or type of its state, which no loop could carry.
@pytest.mark.parametrize("case", MIXERS)
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
@pytest.mark.parametrize("mixer", [Attention(16, heads=3), Based(16, heads=3)])
def test_width_not_divisible_by_heads(mixer):
    with pytest.raises(UserError, match=r"16.*\b3 heads"):
        mixer.init(jax.random.key(0), jnp.zeros((1, 2, 16)))


# Catches a filter that is silently cut, or tiled, beyond its limit.
@pytest.mark.parametrize("case", ["base_conv_implicit", "hyena"])
def test_longer_than_the_filter(case):
    mixer, variables, _ = example(case)
    mixer.apply(variables, jnp.zeros((1, LIMIT, WIDTH)))
    with pytest.raises(UserError, match=f"{LIMIT + 1} tokens.*{LIMIT}"):
        mixer.apply(variables, jnp.zeros((1, LIMIT + 1, WIDTH)))


SHAPE = {"layers": 2, "width": 16, "max_length": 32}


# Catches a misspelt name or option that is passed over in silence.
def test_unknown_names():
    with pytest.raises(UserError, match=r"'atention'.*did you mean 'attention'"):
        build_mixer("atention", 0, **SHAPE)
    with pytest.raises(UserError, match=r"'mamba'.*'d_cnov'.*d_conv"):
        build_mixer("mamba", 0, **SHAPE, options={"d_cnov": 2})
    with pytest.raises(UserError, match="'width'"):  # it comes from the model
        build_mixer("attention", 0, **SHAPE, options={"width": 8})


# Catches layers that are numbered from 1, and options that reach no layer.
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("attention", [Attention(16, layers=2)] * 2),
        ("base_conv", [BaseConv(16, 32, kernel=3), BaseConv(16, 32, kernel="implicit")]),
        ("based", [BaseConv(16, 32, kernel=3), Based(16)]),
        ("hyena", [Hyena(16, 32, layers=2)] * 2),
        ("mamba", [Mamba(16, layers=2)] * 2),
    ],
)
def test_architectures_of_the_study(architecture, expected):
    assert [build_mixer(architecture, layer, **SHAPE) for layer in (0, 1)] == expected


# Catches an option for one kind of layer that is refused, or lost, in a mixed architecture.
def test_options_go_to_the_layers_that_have_them():
    built = [
        build_mixer("based", layer, **SHAPE, options={"heads": 2, "kernel": 4}) for layer in (0, 1)
    ]
    assert built == [BaseConv(16, 32, kernel=4), Based(16, heads=2)]
