"""Each mixer gives the reference's numbers: catches any wrong equation, layout or constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.interop import from_reference_mixer
from mecheval_jax.mixers import mixer_of
from mecheval_jax.mixers.filters import linspace
from mecheval_jax.mixers.s4d import S4DKernel
from tests.support import golden_files
from tests.support.golden_files import relative_error


@pytest.mark.parametrize("case", golden_files.MIXERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_output_and_gradient(case, dtype, tolerance):
    name, config = golden_files.MIXERS[case]
    mixer = mixer_of(name, config)
    state, arrays = golden_files.load(f"mixer__{case}")
    with jax.enable_x64(dtype == "float64"):
        cast = lambda array: jnp.asarray(array, dtype)
        params = jax.tree.map(cast, from_reference_mixer(name, state, config))

        @jax.jit
        def output_and_gradient(x):
            y, pull_back = jax.vjp(lambda x: mixer.apply({"params": params}, x), x)
            return y, pull_back(2 * y)[0]  # of the sum of squares

        y, gradient = output_and_gradient(cast(arrays["x_L16"]))
        assert y.dtype == dtype
        assert relative_error(y, arrays["y64_L16"]) < tolerance
        assert relative_error(gradient, arrays["gx64_L16"]) < tolerance


# Catches a wrong discretisation, a kernel without its conjugate half, powers off by one.
@pytest.mark.parametrize("case", ["bilinear_n8", "bilinear_n64", "zoh_n8", "zoh_n64"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_s4d_kernels(case, dtype, tolerance):
    state, arrays = golden_files.load(f"s4d_kernel__{case}")
    state["kernel.C"] = state["kernel.C"][0]
    discretization, size = case.split("_n")
    kernel = S4DKernel(6, int(size), discretization)
    with jax.enable_x64(dtype == "float64"):
        params = {name.removeprefix("kernel."): jnp.asarray(a, dtype) for name, a in state.items()}
        taps = jax.jit(lambda params: kernel.apply({"params": params}, 37))(params)
        assert taps.dtype == dtype
        assert relative_error(taps.T, arrays["K64_L37"]) < tolerance


# Catches an explicit long filter that is not the reference's. Its array holds a mistake: the
# circular convolution of length 2L reads taps L..2L-1 as taps of the future. Ours is causal; the
# wrap is added here, and only here.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_explicit_long_convolution_but_for_the_wrap(dtype, tolerance):
    state, arrays = golden_files.load("mixer__base_conv_explicit_long_d16")
    config = {"width": 16, "max_length": 64, "kernel": "explicit"}
    mixer = mixer_of("base_conv", config)
    with jax.enable_x64(dtype == "float64"):
        cast = lambda array: jnp.asarray(array, dtype)
        params = jax.tree.map(cast, from_reference_mixer("base_conv", state, config))

        def with_the_wrap(x):
            length = x.shape[1]
            lag = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
            taps = params["filter"]["taps"][: 2 * length]
            future = jnp.where(lag[..., None] < 0, taps[lag % (2 * length)], 0)
            gate = x @ params["projection"]["kernel"] + params["projection"]["bias"][None, None]
            leak = jnp.einsum("lsd,bsd->bld", future, x)
            return mixer.apply({"params": params}, x) + leak * gate

        @jax.jit
        def output_and_gradient(x):
            y, pull_back = jax.vjp(with_the_wrap, x)
            return y, pull_back(2 * y)[0]

        y, gradient = output_and_gradient(cast(arrays["x_L16"]))
        assert relative_error(y, arrays["y64_L16"]) < tolerance
        assert relative_error(gradient, arrays["gx64_L16"]) < tolerance
        alone = mixer.apply({"params": params}, cast(arrays["x_L16"]))
        assert relative_error(alone, arrays["y64_L16"]) > 0.1


# Catches points that are rounded twice, or spaced as NumPy spaces them: off by one bit, which
# float64 shows in a filter's output.
def test_constants_of_hyena_to_the_bit():
    for name, prefix in (
        ("mixer__hyena_d16", ""),
        ("lm__hyena", "backbone.layers.0.sequence_mixer."),
    ):
        state, _ = golden_files.load(name)
        time = state[f"{prefix}filter_fn.pos_emb.t"].ravel()
        rates = state[f"{prefix}filter_fn.modulation.deltas"].ravel()
        np.testing.assert_array_equal(linspace(0, 1, len(time)), time)
        slow, fast = np.log(0.01) / 1.5, np.log(0.01) / 0.3
        np.testing.assert_array_equal(linspace(slow, fast, len(rates)), rates)
